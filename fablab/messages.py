"""What hub, agent and web say to each other over MQTT: orders, reports, pictures, and the sealed envelope.

Data only: no decision, no I/O, no clock. Unknown fields are ignored, so that an older side understands a newer one.
"""

import hashlib
import hmac
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

VERSION = 1
MAX_MESSAGE_BYTES = 256 * 1024
"""Longest payload that anyone decodes; what is longer is counted and dropped."""


class MachineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine as fablab.toml, the `configure` order and the drivers see it. Secrets are paths of files."""

    id: str
    driver: str
    name: str = ""
    kind: str = "printer"  # printer | laser | saw | other
    port: str | None = None  # serial device or URL of an allowed scheme
    baud: int | None = None  # None: the profile's, else detected
    profile: str | None = None
    url: str | None = None
    api_key_file: str | None = None
    topic: str | None = None
    full_topic: str = "%prefix%/%topic%/"
    start: str = "person"  # person | unattended
    use: tuple[str, ...] = ("queue",)  # self_service | accompanied | queue
    minors: str = "no"  # no | with_adult | yes
    lease_s: int = 90  # power lease in a relay, seconds


# ---------------------------------------------------------------- orders, hub → agent


class Nature(StrEnum):
    """What may be done with an order that got no answer (architecture: three natures)."""

    PREPARE = "prepare"  # harmless: may expire and be repeated
    START = "start"  # never repeated by itself
    STOP = "stop"  # never expires, repeated until confirmed


class Prepare(Struct, frozen=True, kw_only=True, tag="prepare"):
    """Fetch the file of a job, check it, index it, and offer a start token."""

    job: str
    sha256: str
    size: int
    file_name: str
    file_path: str  # path below the hub's URL
    file_token: str  # good for this run's file only
    printer_model: str | None = None  # what the file was sliced for; None: the file does not say
    material: str | None = None
    payer: str = ""  # in words, kept in the journal with the figures


class Start(Struct, frozen=True, kw_only=True, tag="start"):
    """Begin the run that `prepare` made ready. The token is used once."""

    token: str
    by: str = ""  # who said go


class Pause(Struct, frozen=True, kw_only=True, tag="pause"):
    by: str = ""
    staff: bool = False  # a pause by staff is not billed


class Resume(Struct, frozen=True, kw_only=True, tag="resume"):
    by: str = ""


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    """Stop the run cleanly and close (run, claim_no) for ever."""

    by: str = ""


class Revoke(Struct, frozen=True, kw_only=True, tag="revoke"):
    """Close (run, claim_no) for ever and say what became of it; a started run is not stopped by it."""


class Cleared(Struct, frozen=True, kw_only=True, tag="cleared"):
    """A named person says that the plate is free."""

    by: str = ""


class EmergencyStop(Struct, frozen=True, kw_only=True, tag="emergency_stop"):
    by: str = ""


class ReleaseStop(Struct, frozen=True, kw_only=True, tag="release_stop"):
    """A named person takes the latch of an emergency stop off."""

    by: str = ""


class SwitchOn(Struct, frozen=True, kw_only=True, tag="switch_on"):
    seconds: int  # until the agent switches off by itself unless told again
    by: str = ""


class SwitchOff(Struct, frozen=True, kw_only=True, tag="switch_off"):
    by: str = ""


class Declare(Struct, frozen=True, kw_only=True, tag="declare"):
    """A person's word about a run of the manual driver, or of a print that somebody started at the machine."""

    what: str  # finished | failed
    minutes: int | None = None
    grams: float | None = None
    by: str = ""


class Configure(Struct, frozen=True, kw_only=True, tag="configure"):
    """The machines that the database gives to this agent, beside those of its own fablab.toml."""

    revision: int
    machines: tuple[MachineSettings, ...]


class HelloAnswer(Struct, frozen=True, kw_only=True, tag="hello_answer"):
    """The hub's word on a hello: the nonce shows that it answers this one, and is no replay."""

    nonce: str
    applied: int  # N: reports up to N of this journal are in the database
    journal_id: str
    version: int  # the version both speak


OrderBody = (
    Prepare
    | Start
    | Pause
    | Resume
    | Cancel
    | Revoke
    | Cleared
    | EmergencyStop
    | ReleaseStop
    | SwitchOn
    | SwitchOff
    | Declare
    | Configure
    | HelloAnswer
)

NATURE: dict[type[Any], Nature] = {
    Prepare: Nature.PREPARE,
    Configure: Nature.PREPARE,
    HelloAnswer: Nature.PREPARE,
    Cleared: Nature.PREPARE,
    Start: Nature.START,
    Resume: Nature.START,
    SwitchOn: Nature.START,
    ReleaseStop: Nature.START,
    Declare: Nature.START,
    Pause: Nature.STOP,
    Cancel: Nature.STOP,
    Revoke: Nature.STOP,
    EmergencyStop: Nature.STOP,
    SwitchOff: Nature.STOP,
}


class Command(Struct, frozen=True, kw_only=True):
    """An order. `claim_no` and `stop_no` are the numbers that its sender has seen; 0 where no run is meant."""

    id: str
    machine: str  # "" for an order to the agent itself
    run: str = ""
    claim_no: int = 0
    stop_no: int = 0
    term: int  # the hub's lease term
    v: int = VERSION
    body: OrderBody


# ---------------------------------------------------------------- reports, agent → hub


class Answer(Struct, frozen=True, kw_only=True, tag="answer"):
    """What became of one order. Only `accepted` counts as taken; the last one is the result."""

    command: str
    run: str = ""
    machine: str = ""
    claim_no: int = 0
    state: str  # accepted | succeeded | failed | unknown | rejected
    code: str = ""
    data: dict[str, Any] = {}


class Prepared(Struct, frozen=True, kw_only=True, tag="prepared"):
    """The run is ready for a go. Sent again with a new token before the old one lapses."""

    run: str
    machine: str
    claim_no: int
    token: str
    valid_s: int  # seconds on the agent's own monotonic clock
    lines: int = 0
    filament_mm: tuple[float, ...] = ()


class Started(Struct, frozen=True, kw_only=True, tag="started"):
    """The machine took the first line (or the person tapped "started")."""

    run: str
    machine: str
    claim_no: int


class Paused(Struct, frozen=True, kw_only=True, tag="paused"):
    run: str
    machine: str
    claim_no: int
    by: str = ""  # a person's name, "machine", or "rule"
    code: str = ""  # why, where the machine said it (filament_runout, …)


class Resumed(Struct, frozen=True, kw_only=True, tag="resumed"):
    run: str
    machine: str
    claim_no: int


class Ended(Struct, frozen=True, kw_only=True, tag="ended"):
    """The facts of a finished attempt: the only thing that is ever billed.

    Seconds are the agent's monotonic ones (times the speed factor of a simulator). `commanded_mm` is net filament
    per tool of the accepted lines. `kind` says where the figures come from: commanded | measured | declared.
    """

    run: str
    machine: str
    claim_no: int
    job: str = ""
    payer: str = ""
    result: str  # succeeded | failed | stopped
    code: str = ""  # why not succeeded
    seconds: int = 0  # from first line to end
    paused_s: int = 0  # of these, paused on a person's wish
    staff_paused_s: int = 0  # of these, paused by staff or by a fault of the machine: not billed
    commanded_mm: tuple[float, ...] = ()
    declared_g: float | None = None
    kind: str = "commanded"
    lines: int = 0  # accepted
    total_lines: int = 0
    resends: int = 0
    touched: bool = True  # anything may lie on the plate


class RunUnknown(Struct, frozen=True, kw_only=True, tag="run_unknown"):
    """The agent cannot tell what became of a start it had journalled: a person decides."""

    run: str
    machine: str
    claim_no: int
    code: str


class StopConfirmed(Struct, frozen=True, kw_only=True, tag="stop_confirmed"):
    """An emergency stop as far as it was seen to work: `how` is firmware | reset | relay | none."""

    machine: str
    how: str
    stop_no: int


class PlateUnsure(Struct, frozen=True, kw_only=True, tag="plate_unsure"):
    """After a new journal or an unclean boot a person must say that the plate is free."""

    machine: str
    why: str  # new_journal | unclean_boot | foreign_print


class Incident(Struct, frozen=True, kw_only=True, tag="incident"):
    """Something that staff should see: halted firmware, forged order, clash of sessions …"""

    machine: str = ""
    run: str = ""
    code: str
    data: dict[str, Any] = {}


class MachineClaims(Struct, frozen=True, kw_only=True):
    """What the journal knows of one machine, for the hello."""

    machine: str
    highest_claim: int
    stop_no: int
    started_run: str = ""  # journalled start without a reported end


class Hello(Struct, frozen=True, kw_only=True, tag="hello"):
    """First word on every connection; carries no sequence number (`seq` = 0) and changes no run by itself."""

    nonce: str
    next_seq: int
    highest_applied: int  # highest N this journal was ever told
    machines: tuple[MachineClaims, ...]
    versions: tuple[int, ...] = (VERSION,)
    settings_revision: int = 0
    settings: tuple[MachineSettings, ...] = ()  # machines of the agent's own fablab.toml
    previous_journal: bool = False  # True where an older journal was found and given up


ReportBody = (
    Answer | Prepared | Started | Paused | Resumed | Ended | RunUnknown | StopConfirmed | PlateUnsure | Incident | Hello
)


class Report(Struct, frozen=True, kw_only=True):
    """A fact, unique by (journal_id, seq), applied strictly in sequence."""

    journal_id: str
    seq: int
    boot_no: int
    agent: str
    at: str  # UTC, ISO 8601, the agent's wall clock: for display only
    v: int = VERSION
    body: ReportBody


class Applied(Struct, frozen=True, kw_only=True):
    """Reports of this journal up to `up_to` are in the database; a lower term or number is ignored."""

    journal_id: str
    up_to: int
    term: int
    missing_from: int | None = None  # please send again from this number


# ---------------------------------------------------------------- pictures


class Temperature(Struct, frozen=True):
    actual: float  # °C
    target: float | None = None  # °C, None: not reported


class StateSnapshot(Struct, frozen=True, kw_only=True):
    """A picture of one machine, retained; newer by (journal_id, boot_no, rev). Never billed from."""

    machine: str
    journal_id: str
    boot_no: int
    rev: int
    at: str
    state: str  # offline | connecting | idle | preparing | prepared | running | paused | stopping | halted
    code: str = ""  # why, where there is a why
    driver: str = ""
    run: str = ""
    job: str = ""
    progress: float | None = None  # 0 … 1
    line: int = 0
    lines: int = 0
    layer: int = 0
    layers: int = 0
    seconds: int = 0  # run time so far
    remaining_s: int | None = None
    commanded_mm: tuple[float, ...] = ()
    temperatures: dict[str, Temperature] = {}  # tool0, tool1, bed, chamber
    relay_on: bool | None = None
    watts: float | None = None
    latched: bool = False  # an emergency stop waits for its release
    stop_no: int = 0
    firmware: str = ""
    warnings: tuple[str, ...] = ()  # codes, e.g. no_thermal_protection
    prompt: str = ""
    host_death: str = ""  # firmware_timer | relay_timer | none: what happens when the host dies
    speed: int = 1  # a simulator's speed factor


class Telemetry(Struct, frozen=True, kw_only=True):
    """At most one a second and machine, QoS 0, kept in a ring only."""

    machine: str
    at: str
    progress: float | None = None
    line: int = 0
    layer: int = 0
    seconds: int = 0
    commanded_mm: tuple[float, ...] = ()
    temperatures: dict[str, Temperature] = {}
    watts: float | None = None


class Online(Struct, frozen=True, kw_only=True):
    """Retained presence of an agent; the last will says False."""

    online: bool
    at: str
    session: str  # random per connection: two live ones of one agent are an alarm
    versions: tuple[int, ...] = (VERSION,)


class Changed(Struct, frozen=True, kw_only=True):
    """A lossy hint from whoever committed: these things look different now. Carries no truth."""

    jobs: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()


# ---------------------------------------------------------------- the envelope


class Envelope(Struct, frozen=True, kw_only=True):
    """`mac` is HMAC-SHA-256, hex, over topic, newline, epoch, newline and the very bytes of `body`."""

    epoch: str
    mac: str
    body: msgspec.Raw


class Forged(ValueError):
    """The seal does not fit: another key, another topic, another body, or not an envelope at all."""


_envelope = msgspec.json.Decoder(Envelope)


def seal(topic: str, epoch: str, key: bytes, body: Struct) -> bytes:
    """Encode `body` and wrap it in an envelope that only holders of `key` can make for this topic and epoch."""
    raw = msgspec.json.encode(body)
    return msgspec.json.encode(Envelope(epoch=epoch, mac=_mac(topic, epoch, key, raw), body=msgspec.Raw(raw)))


def unseal(topic: str, key: bytes, payload: bytes) -> tuple[str, bytes]:
    """The epoch and the raw body of a sealed payload. Raises `Forged` for anything that is not one."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise Forged("oversized")
    try:
        envelope = _envelope.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Forged("malformed") from error
    raw = bytes(envelope.body)
    if not hmac.compare_digest(envelope.mac, _mac(topic, envelope.epoch, key, raw)):
        raise Forged("seal")
    return envelope.epoch, raw


def _mac(topic: str, epoch: str, key: bytes, raw: bytes) -> str:
    return hmac.new(key, b"\n".join((topic.encode(), epoch.encode(), raw)), hashlib.sha256).hexdigest()
