"""What an agent does with an order: take it, answer again, refuse it, or leave it unanswered. Pure.

The guards of the road of an order, steps 5 and 9: each was needed to keep a machine from starting twice.
"""

from dataclasses import dataclass

from fablab.messages import (
    NATURE,
    VERSION,
    Cancel,
    Cleared,
    Command,
    Configure,
    Declare,
    EmergencyStop,
    HelloAnswer,
    Nature,
    Pause,
    Prepare,
    ReleaseStop,
    Resume,
    Revoke,
    Start,
    SwitchOff,
    SwitchOn,
)


@dataclass(frozen=True)
class View:
    """What the agent knows as an order comes in."""

    known: bool = False  # this id was taken before
    closed: bool = False  # (run, claim_no) of the order was closed for ever
    highest_claim: int = 0
    stop_no: int = 0
    latched: bool = False
    started_run: str = ""  # journalled start without a reported end
    prepared_run: str = ""  # being prepared, or ready for a go
    prepared_claim: int = 0
    token: str = ""  # the one start token that counts now; empty: none
    ready: bool = False  # the machine answers
    term: int = 0
    blocked: str = ""  # why nothing may be prepared or started: two_sessions, disk_full, journal_full, stopping


@dataclass(frozen=True)
class Verdict:
    """`what`: take | again | refuse | ignore; `code` says why not."""

    what: str
    code: str = ""


TAKE, AGAIN, IGNORE = Verdict("take"), Verdict("again"), Verdict("ignore", "old_term")


def decide(view: View, command: Command) -> Verdict:
    """Judge an order. Stop-like ones are taken whatever the state, the others only where nothing speaks against it."""
    if view.known:
        return AGAIN
    if command.v > VERSION:
        return _refuse("version_unknown")
    if NATURE[type(command.body)] is not Nature.STOP and command.term < view.term:
        return IGNORE  # from a hub that has lost its lease; the other one says it again
    match command.body:
        case EmergencyStop() | Cancel() | Revoke() | SwitchOff() | Cleared() | Configure() | HelloAnswer():
            return TAKE
        case Pause():
            return TAKE if _same_run(view, command) else _refuse("not_this_run")
        case Prepare():
            return _prepare(view, command)
        case Start():
            return _start(view, command, command.body)
        case Resume() | Declare():
            if not _same_run(view, command):
                return _refuse("not_this_run")
            return _overtaken(view, command) if isinstance(command.body, Resume) else TAKE
        case SwitchOn():
            if view.blocked:
                return _refuse(view.blocked)
            return _overtaken(view, command)
        case ReleaseStop():
            return TAKE if command.stop_no >= view.stop_no else _refuse("stop_overtook")


def _prepare(view: View, command: Command) -> Verdict:
    if view.blocked:
        return _refuse(view.blocked)
    if view.closed:
        return _refuse("claim_closed")
    if view.latched:
        return _refuse("latched")
    if command.claim_no < view.highest_claim:
        return _refuse("claim_old")
    if command.claim_no == view.highest_claim and view.prepared_run not in ("", command.run):
        return _refuse("claim_old")
    if view.started_run:
        return _refuse("machine_busy")
    return TAKE


def _start(view: View, command: Command, body: Start) -> Verdict:
    if view.closed:
        return _refuse("claim_closed")
    if view.started_run:
        return _refuse("machine_busy")
    if (command.run, command.claim_no) != (view.prepared_run, view.prepared_claim):
        return _refuse("not_prepared")
    if command.claim_no < view.highest_claim:
        return _refuse("claim_old")
    if not view.token or body.token != view.token:
        return _refuse("token_void")
    if view.blocked:
        return _refuse(view.blocked)
    if not view.ready:
        return _refuse("not_connected")
    return _overtaken(view, command)


def _overtaken(view: View, command: Command) -> Verdict:
    """Whoever sent it had not seen the latest stop."""
    if view.latched:
        return _refuse("latched")
    return TAKE if command.stop_no >= view.stop_no else _refuse("stop_overtook")


def _same_run(view: View, command: Command) -> bool:
    return bool(view.started_run) and command.run in ("", view.started_run)


def _refuse(code: str) -> Verdict:
    return Verdict("refuse", code)
