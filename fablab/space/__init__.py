"""People, places, machines, memberships, authorisations, and the one table of who or what occupies what."""
