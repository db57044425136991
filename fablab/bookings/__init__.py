"""Machines kept for people between two instants."""
