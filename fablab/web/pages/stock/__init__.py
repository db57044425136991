"""Stock: spools, sheets and bags."""
