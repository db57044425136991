"""Reads G-code files: bytes → what a file is, needs and does. Knows no machine, no database, no page."""
