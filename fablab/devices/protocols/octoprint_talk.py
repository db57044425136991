"""What the parts of the OctoPrint engine share: the time told, the last look, requests on their way; no decisions."""

from typing import Any
from urllib.parse import quote

from fablab.devices.protocols.contract import HttpAnswer, HttpRequest
from fablab.devices.protocols.octoprint_reading import Seen

# while it starts, it hangs up after a bare "Not found" without a status line
_LINK_CODES = {"not_http": "octoprint_starting", "broken": "octoprint_starting", "timeout": "octoprint_silent"}


class Talk:
    """One conversation with one OctoPrint."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seen: Seen | None = None
        self.foreign = ""  # name of a job that runs there and is not ours
        self.next_look: float | None = None
        self.out: list[HttpRequest] = []
        self._asked: dict[int, str] = {}  # number of a request without answer → what it asks
        self._number = 0

    def send(self, what: str, method: str, path: str, json: dict[str, Any] | None = None, **more: Any) -> None:
        """Put a request out; `more` are other fields of HttpRequest."""
        self._number += 1
        self._asked[self._number] = what
        self.out.append(HttpRequest(self._number, method, path, json, **more))

    def answered(self, answer: HttpAnswer) -> str:
        """What the answered request had asked; "" where nobody waits for it any more."""
        return self._asked.pop(answer.number, "")

    def waits_for(self, *names: str) -> bool:
        return any(what in names for what in self._asked.values())

    def begin_again(self) -> None:
        """The transport was opened anew: what was asked before is answered to nobody."""
        self._asked.clear()
        self.out.clear()
        self.seen, self.next_look = None, None

    def hold_back(self) -> set[str]:
        """Drop what has not left, for an emergency stop goes first; what that was."""
        dropped = {self._asked.pop(request.number, "") for request in self.out}
        self.out.clear()
        return dropped

    def look_soon(self) -> None:
        """Look at the next tick; a look that is on its way is followed by another soon enough."""
        if not self.waits_for("printer", "job"):
            self.next_look = self.now

    def heaters_off(self) -> None:
        """Targets to zero by OctoPrint's own calls, which also work while a job runs; and the part fan off."""
        names = set(self.seen.temperatures) if self.seen is not None else set()
        tools = {name: 0 for name in sorted(names) if name.startswith("tool")} or {"tool0": 0}
        self.send("heat", "POST", "/api/printer/tool", {"command": "target", "targets": tools})
        for name in ("bed", "chamber"):
            if name in names or (name == "bed" and not names):
                self.send("heat", "POST", f"/api/printer/{name}", {"command": "target", "target": 0})
        self.send("heat", "POST", "/api/printer/command", {"command": "M107"})


def file_url(name: str) -> str:
    return f"/api/files/local/{quote(name)}"


def link_code(answer: HttpAnswer) -> str:
    """Why an answer was of no use. A missing or wrong key is an anonymous user to OctoPrint: 403, not 401."""
    if answer.status in (401, 403):
        return "wrong_api_key"
    if answer.status == 0:
        return _LINK_CODES.get(answer.error, "octoprint_unreachable")
    return "octoprint_starting" if answer.status in (502, 503, 504) else "not_octoprint"
