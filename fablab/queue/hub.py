"""The hub's process: database, broker and loop put together, and taken apart again on SIGTERM. Decides nothing."""

import logging
import os
import signal
import threading

from fablab.bus import MqttBus, address
from fablab.clock import SystemClock
from fablab.config import Config
from fablab.database import check, open_database
from fablab.db import Database
from fablab.ids import new_id
from fablab.queue import measuring
from fablab.queue.loop import PAUSE_S, Hub
from fablab.sentences import Refusal

log = logging.getLogger(__name__)


def wait_for_database(database: Database, stop: threading.Event) -> bool:
    """Wait until the database answers with today's tables; says so once. False when stopped meanwhile.

    Raises Refusal database_too_new: no waiting helps there.
    """
    told = False
    while not stop.is_set():
        try:
            check(database)
        except Refusal as refusal:
            if refusal.code == "database_too_new":
                raise
            if not told:
                log.warning("waiting for the database: %s %s", refusal.code, refusal.data)
            told = True
            stop.wait(PAUSE_S)
            continue
        if told:
            log.info("the database answers")
        return True
    return False


def run_hub(config: Config, stop: threading.Event | None = None) -> int:
    """The hub's process, until SIGTERM. Returns the exit status."""
    if stop is None:
        stop = _stop_on_signals()
    database = open_database(config)
    clock = SystemClock()
    if not wait_for_database(database, stop):
        return 0
    where = address(
        config.broker.url,
        host=config.broker.host,
        port=config.broker.port,
        password=config.secret(config.broker.password_file) or "",
        ca_file=config.broker.ca_file,
    )
    bus = MqttBus(where, f"hub-{new_id()}")
    hub = Hub(database, bus, clock, config.resolve(config.files.dir), measuring.read_in_child)
    hub.start()
    try:
        hub.run(stop)
    finally:
        hub.close()
        database.dispose()
    return 0


def _stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; the second signal ends the process at once."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop
