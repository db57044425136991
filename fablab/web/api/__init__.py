"""For programs: the HTTP API, what slicers speak, what agents fetch, and what monitors read."""
