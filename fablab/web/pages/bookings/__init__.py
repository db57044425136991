"""Bookings: a machine kept for a person between two instants."""
