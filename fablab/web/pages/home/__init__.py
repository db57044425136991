"""Home: what matters today, the choice of language, and the statement on accessibility."""
