"""Alembic's environment and versions. `fablab db upgrade` runs them; tables are defined elsewhere."""
