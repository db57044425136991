"""What a stop-like order does to one machine: it acts first and is written down after, and nothing makes it wait."""

from collections.abc import Callable

from fablab.devices.machine import Machine
from fablab.devices.orders import decide
from fablab.devices.protocols import contract as c
from fablab.messages import Cancel, Command, EmergencyStop, Pause, Revoke, StopConfirmed, SwitchOff

Tell = Callable[[list[c.Event]], None]


class Stops:
    """Stop-like orders of one machine. `tell` takes the events that one caused at once."""

    def __init__(self, machine: Machine, tell: Tell) -> None:
        self._m = machine
        self._tell = tell

    def order(self, command: Command) -> None:
        """Take one, known or new."""
        m = self._m
        if m.journal.command(command.id) is not None:
            m.site.reporter.again(command.id)
            return
        verdict = decide(m.view(command), command)
        if verdict.what != "take":
            m.remember(stop_no=max(m.row.stop_no, command.stop_no))
            m.write_down(command, "rejected", verdict.code, also=self._keep_row)
            return
        m.remember(stop_no=max(m.row.stop_no, command.stop_no))
        started = m.is_started(command)
        m.waiting.append(command)
        failure = ""
        events: list[c.Event] = []
        try:
            events = self._act(command, started)
        except c.Refused as refused:
            failure = refused.code
        except OSError:
            failure = "not_connected"
            m.line_dead()
        self._write_down(command)
        self._close(command, started, failure)
        self._tell(events)

    def again(self) -> None:
        """The machine answers again: what was to be stopped meanwhile is stopped now."""
        for command in list(self._m.waiting):
            if isinstance(command.body, Cancel) and self._m.is_started(command):
                try:
                    self._tell(self._m.hosting.ask(c.Cancel()))
                except c.Refused as refused:
                    self._m.settle(command, "failed", refused.code)
                except OSError:
                    self._m.line_dead()

    def _act(self, command: Command, started: bool) -> list[c.Event]:
        m = self._m
        match command.body:
            case EmergencyStop():
                m.remember(latched=True)
                m.drop_next()
                return m.hosting.stop_now(c.EmergencyStop()) if m.up else [c.StopSeen("none")]
            case Pause():
                return self._ask(c.Pause())
            case SwitchOff():
                return self._ask(c.Switch(False))
            case Cancel() if started:
                m.stopping = True
                return self._ask(c.Cancel())
            case Revoke() if started and m.manual:
                return m.hosting.ask(c.Cancel())  # nobody else would ever end it
        following = m.next
        if following is not None and following.command.run == command.run:
            m.drop_next()
        return []

    def _ask(self, intent: c.Intent) -> list[c.Event]:
        if not self._m.up:
            raise c.Refused("not_connected")
        return self._m.hosting.ask(intent)

    def _write_down(self, command: Command) -> None:
        """(run, claim_no) is closed for ever before anything is answered."""
        m = self._m

        def keep() -> None:
            self._keep_row()
            if isinstance(command.body, Cancel | Revoke) and command.run:
                m.journal.close(command.run, command.claim_no, m.site.clock.now())

        m.write_down(command, "accepted", also=keep)

    def _keep_row(self) -> None:
        m = self._m
        m.journal.update_machine(m.id, stop_no=m.row.stop_no, latched=m.row.latched)

    def _close(self, command: Command, started: bool, failure: str) -> None:
        """Answer at once what no event will answer."""
        m = self._m
        match command.body:
            case Revoke():
                m.settle(command, "succeeded", became=self._became(command, started))
            case Cancel() if not started:
                m.settle(command, "succeeded", became=self._became(command, started))
            case Cancel() if failure == "not_connected":
                pass  # it is asked again when the machine answers
            case EmergencyStop() if failure:
                m.site.reporter.say(StopConfirmed(machine=m.id, how="none", stop_no=m.row.stop_no))
                m.settle(command, "failed", failure)
            case _ if failure:
                m.settle(command, "failed", failure)

    def _became(self, command: Command, started: bool) -> str:
        if started:
            return "started"
        return "ended" if self._m.journal.has_started(command.run) else "never_started"
