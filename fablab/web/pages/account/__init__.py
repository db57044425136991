"""Account: what a person sees and changes about herself."""
