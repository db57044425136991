"""`python -m fablab.migrations`: write the initial migration anew from the tables in the code."""

import tempfile
from pathlib import Path

from fablab.database import write_initial_migration
from fablab.db import Database

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'empty.db'}")
        write_initial_migration(database)
        database.dispose()
