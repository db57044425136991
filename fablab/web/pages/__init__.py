"""One folder for each first segment of a URL: its routes, what its forms say, its templates."""
