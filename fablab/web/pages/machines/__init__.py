"""Machines: the wall, and the page of each machine where people stand."""
