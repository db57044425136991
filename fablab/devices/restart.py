"""What an agent owes after a restart: an answer to orders that were accepted and not done, and doubts about plates."""

import logging
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from pathlib import Path

from fablab.devices.drivers import REGISTRY, Capability
from fablab.devices.journal import Journal
from fablab.devices.reporter import Reporter
from fablab.messages import Answer, MachineSettings, Nature, PlateUnsure

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def open_journal(path: Path, now: datetime) -> Journal:
    """The journal, or a new one beside a damaged one, which is kept for whoever wants to look into it.

    Raises sqlite3.OperationalError where there is no room or no right to write: a new file would not help.
    """
    try:
        journal = Journal(path, now)
        journal.check()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log.error("the journal is damaged (%s): a new one begins, and each plate must be looked at", error)
        for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            if file.exists():
                file.replace(file.with_name(f"{file.name}.damaged-{now:%Y%m%dT%H%M%S}"))
        journal = Journal(path, now)
        journal.given_up = True
    return journal


def settle_unfinished(reporter: Reporter, only: str | None = None) -> None:
    """Nothing that was accepted before a restart is done after it; a start on its way waits for the machine's word.

    `only`: one machine, whose worker alone was restarted.
    """
    for row in reporter.journal.unfinished():
        if only is not None and row.machine != only:
            continue
        machine = reporter.journal.machine(row.machine)
        if machine.started_run and machine.started_command == row.id:
            continue
        if row.nature == Nature.PREPARE:
            reporter.journal.forget_command(row.id)  # harmless: when it comes again, it is done anew
            continue
        state, code = "rejected", "token_void"
        if row.nature == Nature.STOP:
            state, code = "failed", "agent_restarted"
        elif row.run in ("", machine.started_run):
            state, code = "unknown", "agent_restarted"
        reporter.say(
            Answer(
                command=row.id,
                run=row.run,
                machine=row.machine,
                claim_no=row.claim_no,
                state=state,
                code=code,
            )
        )


def unsure_plates(reporter: Reporter, machines: Iterable[MachineSettings], why: str = "") -> None:
    """After a new journal or a power cut a person must say that each plate is free."""
    journal = reporter.journal
    boot = BOOT_ID.read_text(encoding="ascii").strip() if BOOT_ID.exists() else ""
    if not why:
        cut = journal.unclean and journal.setting("os_boot") != boot
        why = "new_journal" if journal.fresh else "unclean_boot" if cut else ""
        journal.keep_setting("os_boot", boot)
    if not why:
        return
    for machine in machines:
        driver = REGISTRY.get(machine.driver)
        if driver is None or Capability.PRINT not in driver.capabilities:
            continue
        reporter.say(
            PlateUnsure(machine=machine.id, why=why), also=partial(journal.update_machine, machine.id, plate_unsure=why)
        )
