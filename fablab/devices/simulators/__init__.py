"""Machines that exist in software only. Demo, documentation and tests use them; they share no code with the engines."""
