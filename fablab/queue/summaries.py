"""Read models: what pages and the API show of jobs, runs and machines. Looks only; decides nothing, writes nothing."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session


def job_summary(session: Session, now: datetime, job_id: str) -> dict[str, Any]:
    """One job with the keys of the public contract, and more: `file`, `asker`, `payer`, `choices`, `machines`, `may`.

    `reasons`: [{"machine", "code", "data"}]; the caller adds `text` in the reader's language.
    `machines`: per machine {"id", "name", "fits", "quote_cents", "ceiling_cents", "lines", "reasons"}.
    Raises Refusal unknown_job.
    """
    raise NotImplementedError


def job_list(
    session: Session,
    now: datetime,
    *,
    asker: str | None = None,
    site: str | None = None,
    states: tuple[str, ...] = (),
    after: str | None = None,
    limit: int = 50,
) -> tuple[list[dict[str, Any]], str | None]:
    """Newest first, shortened summaries, and the cursor of the next page."""
    raise NotImplementedError


def machine_summary(session: Session, now: datetime, machine_id: str) -> dict[str, Any]:
    """One machine: {"id", "name", "kind", "driver", "state", "code", "plate", "plate_run", "outage", "latched",
    "frozen", "online", "seen_at", "temperatures", "watts", "relay_on", "warnings", "host_death", "speed", "lot",
    "run"}.

    `run` is None or {"id", "job", "state", "progress", "layer", "layers", "seconds", "remaining_s", "commanded_mm",
    "token", "token_until", "attempt", "asker", "file_name", "result"}. Raises Refusal unknown_machine.
    """
    raise NotImplementedError


def wall(session: Session, now: datetime, site_id: str) -> list[dict[str, Any]]:
    """All machines of a site as `machine_summary` gives them, by name."""
    raise NotImplementedError


def queue_list(session: Session, now: datetime, site_id: str) -> list[dict[str, Any]]:
    """What waits, in the order in which it will go: job id, name, asker, state, reasons per machine, planned start."""
    raise NotImplementedError
