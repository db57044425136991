"""Desk: who has something to pay."""
