"""A scripted hub for tests of the agent: seals orders with the agent's key, keeps what it is told, applies in order."""

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from fablab import topics
from fablab.bus import Bus, Message
from fablab.ids import new_id
from fablab.messages import (
    NATURE,
    Answer,
    Applied,
    Command,
    Ended,
    Hello,
    HelloAnswer,
    Nature,
    Online,
    Prepare,
    Prepared,
    Report,
    Start,
    StateSnapshot,
    seal,
    unseal,
)

SITE, AGENT = "nyons", "main"
KEY = bytes(range(32))
EPOCH = "epoch-1"


class ScriptedHub:
    """Answers hellos and confirms reports by itself; orders only when told to."""

    def __init__(self, bus: Bus, epoch: str = EPOCH, term: int = 5) -> None:
        self.bus, self.epoch, self.term = bus, epoch, term
        self.reports: dict[tuple[str, int], Report] = {}
        self.conflicts: list[tuple[str, int]] = []
        self.hellos: list[Report] = []
        self.states: dict[str, StateSnapshot] = {}
        self.online: list[Online] = []
        self.applied: dict[str, int] = {}
        self.confirming = True
        self.answering = True
        self.orders: dict[str, tuple[str, Command]] = {}
        self._lock = threading.Lock()
        bus.subscribe(topics.agent_reports(SITE, AGENT), self._on_report)
        bus.subscribe(topics.ALL_STATES, self._on_state)
        bus.subscribe(topics.agent_online(SITE, AGENT), self._on_online)

    # ---- orders

    def order(
        self, machine: str, body: Any, run: str = "", claim_no: int = 0, stop_no: int = 0, **more: Any
    ) -> Command:
        command = Command(
            id=more.pop("id", None) or new_id(), machine=machine, run=run, claim_no=claim_no, stop_no=stop_no,
            term=more.pop("term", self.term), body=body, **more,
        )  # fmt: skip
        if not machine:
            topic = topics.agent_order(SITE, AGENT)
        elif NATURE[type(body)] is Nature.STOP:
            topic = topics.stop(SITE, machine)
        else:
            topic = topics.order(SITE, machine)
        self.orders[command.id] = (topic, command)
        self.send(command)
        return command

    def send(self, command: Command, key: bytes = KEY, epoch: str | None = None) -> None:
        topic, _ = self.orders[command.id]
        self.bus.publish(topic, seal(topic, self.epoch if epoch is None else epoch, key, command))

    def repeat(self) -> None:
        """What the outbox does: everything without an answer again."""
        for command_id, (_, command) in list(self.orders.items()):
            if not self.answers(command_id):
                self.send(command)

    def hand_over_stops(self) -> None:
        """Stops until their last word."""
        for command_id, (_, command) in list(self.orders.items()):
            if NATURE[type(command.body)] is Nature.STOP and self.state_of(command_id) in ("", "accepted"):
                self.send(command)

    # ---- what it heard

    def bodies(self, kind: type, run: str | None = None) -> list[Any]:
        with self._lock:
            rows = sorted(self.reports.items(), key=lambda item: (item[1].boot_no, item[0][1]))
        return [r.body for _, r in rows if isinstance(r.body, kind) and run in (None, getattr(r.body, "run", None))]

    def answers(self, command_id: str) -> list[Answer]:
        return [answer for answer in self.bodies(Answer) if answer.command == command_id]

    def state_of(self, command_id: str) -> str:
        answers = self.answers(command_id)
        return answers[-1].state if answers else ""

    def code_of(self, command_id: str) -> str:
        return self.answers(command_id)[-1].code

    def token(self, run: str) -> str:
        offers = self.bodies(Prepared, run)
        return offers[-1].token if offers else ""

    def ended(self, run: str) -> Ended | None:
        found = self.bodies(Ended, run)
        assert len(found) <= 1, found
        return found[0] if found else None

    def state(self, machine: str) -> str:
        return self.states[machine].state if machine in self.states else ""

    # ---- the wire

    def _on_report(self, message: Message) -> None:
        self.epoch_heard, raw = unseal(message.topic, KEY, message.payload)
        report = msgspec.json.decode(raw, type=Report)
        if isinstance(report.body, Hello):
            self.hellos.append(report)
            if self.answering:
                self.answer_hello(report)
            return
        with self._lock:
            key = (report.journal_id, report.seq)
            if key in self.reports and self.reports[key] != report:
                self.conflicts.append(key)
            self.reports.setdefault(key, report)
        if self.confirming:
            self.confirm(report.journal_id)

    def answer_hello(self, report: Report) -> None:
        assert isinstance(report.body, Hello)
        applied = self.applied.get(report.journal_id, 0)
        body = HelloAnswer(nonce=report.body.nonce, applied=applied, journal_id=report.journal_id, version=1)
        self.order("", body)

    def confirm(self, journal_id: str) -> None:
        with self._lock:
            upto = self.applied.get(journal_id, 0)
            while (journal_id, upto + 1) in self.reports:
                upto += 1
            later = [seq for journal, seq in self.reports if journal == journal_id and seq > upto]
            self.applied[journal_id] = upto
        topic = topics.agent_applied(SITE, AGENT)
        missing = upto + 1 if later else None
        body = Applied(journal_id=journal_id, up_to=upto, term=self.term, missing_from=missing)
        self.bus.publish(topic, seal(topic, self.epoch, KEY, body))

    def _on_state(self, message: Message) -> None:
        _, raw = unseal(message.topic, KEY, message.payload)
        state = msgspec.json.decode(raw, type=StateSnapshot)
        self.states[state.machine] = state

    def _on_online(self, message: Message) -> None:
        _, raw = unseal(message.topic, KEY, message.payload)
        self.online.append(msgspec.json.decode(raw, type=Online))


class FileServer:
    """Serves job files as the hub does: bearer token, ranges; may break each answer after some bytes."""

    def __init__(self, files: dict[str, bytes], token: str = "file-token", break_after: int | None = None) -> None:  # noqa: S107
        self.files, self.token, self.break_after = files, token, break_after
        self.requests: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        span = request.headers.get("Range")
        self.requests.append(span)
        data = self.files.get(request.path)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            request.send_error(401)
            return
        if data is None:
            request.send_error(404)
            return
        begin = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        request.send_response(206 if span else 200)
        request.send_header("Content-Length", str(len(data) - begin))
        request.end_headers()
        piece = data[begin:] if self.break_after is None else data[begin : begin + self.break_after]
        request.wfile.write(piece)
        if len(piece) < len(data) - begin:
            request.close_connection = True
            request.connection.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def prepare(data: bytes = b"G28\n", path: str = "/files/a", job: str = "job-1") -> Prepare:
    return Prepare(
        job=job, sha256=hashlib.sha256(data).hexdigest(), size=len(data), file_name="a.gcode", file_path=path,
        file_token="file-token", payer="Camille Roux",
    )  # fmt: skip


def go(hub: ScriptedHub, until: Callable[..., None], machine: str, run: str, claim: int = 1, **more: Any) -> Command:
    """Prepare, wait for a token, start; returns the start order."""
    hub.order(machine, more.pop("order", None) or prepare(), run, claim)
    until(lambda: hub.token(run), why=f"no token for {run}")
    return hub.order(machine, Start(token=hub.token(run), by="Ada"), run, claim, **more)
