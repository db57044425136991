"""Runs a makerspace from the member's file to the settled bill."""
