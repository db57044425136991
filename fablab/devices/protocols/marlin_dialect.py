"""How one firmware of the Marlin family speaks: plain values from a firmware profile. No behaviour."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """Every difference between firmwares that the engine knows. Times in seconds, lengths in bytes, heat in °C."""

    resend_with_ok: bool | None  # does an `ok` follow `Resend:`; None: it is learned
    m105_ok_carries_t: bool  # `ok T:…` is one line, as on Marlin
    advanced_ok: bool  # `ok N12 P15 B3` may come
    emergency_parser: bool  # obeys M108 out of turn when it says so in its capabilities
    buffer_bytes: int  # receive ring
    queue_lines: int  # command queue (BUFSIZE)
    max_line: int  # longest framed line with its end
    g90_affects_e: bool  # G90/G91 switch the extruder too
    boot_s: float  # longest wait for the boot text after the port was opened
    quiet_s: float  # silence after which boot text is taken to be over
    silence_s: float  # no sign of life although an answer is due
    busy_silence_s: float  # the same once `busy` lines have been seen
    max_silences: int  # this many in a row: nobody is there
    tools: int
    chamber: bool
    park_mm: tuple[float, float] | None  # where a paused head waits; None: it only lifts
    lift_mm: float
    pause_heat_s: float  # a pause keeps the hotend hot this long
    settle_s: float  # a temperature counts as reached after staying there this long
    stepper_timeout_s: int  # restored after a pause (M84 S…); 0: left alone
    dead_man_s: int  # M85 S…; 0: none
