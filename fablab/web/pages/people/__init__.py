"""People: who they are, what they may do, and their money at the counter."""
