"""How every process of ours logs: one line a message, to standard error, with the role's name. No secrets."""

import logging
import sys
import time


def set_up(role: str, level: int = logging.INFO) -> None:
    """Configure the root logger once per process. Times are UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(f"%(asctime)sZ {role:<6} %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "alembic", "apscheduler"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
