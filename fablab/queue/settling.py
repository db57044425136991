"""Settles what a run costs: a second transaction after the verdict, that may be repeated without changing anything.

An error in a price is written beside the row, shown to staff, and tried again; it never stops a machine.
"""

import logging
from datetime import timedelta

log = logging.getLogger(__name__)

PAUSES = (timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1))
