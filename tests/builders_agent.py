"""A scripted agent for tests of the hub: speaks sealed messages on a bus, does nothing by itself but acknowledge."""

import secrets
from typing import Any

import msgspec

from fablab import topics
from fablab.ids import new_id
from fablab.messages import (
    Answer,
    Applied,
    Command,
    Ended,
    Hello,
    HelloAnswer,
    MachineClaims,
    MachineSettings,
    Online,
    Prepare,
    Prepared,
    Report,
    Started,
    StateSnapshot,
    seal,
    unseal,
)
from tests.builders_hub import EPOCH, KEY

AT = "2026-03-02T09:00:00Z"
SITE = "nyons"


class ScriptedAgent:
    """Keeps its reports, so that a test may send them again, out of order, or not at all."""

    def __init__(self, publish: Any, agent_id: str = "main", machines: tuple[str, ...] = ("mk3", "xl")) -> None:
        self._publish = publish
        self.id = agent_id
        self.machines = machines
        self.journal = new_id()
        self.boot_no = 1
        self.seq = 0
        self.rev = 0
        self.epoch = EPOCH
        self.key = KEY
        self.orders: list[Command] = []
        self.applied: list[Applied] = []
        self.greeted: list[HelloAnswer] = []
        self.reports: dict[int, tuple[str, bytes]] = {}
        self.session = secrets.token_hex(4)

    def receive(self, topic: str, payload: bytes) -> None:
        """What the hub published."""
        parsed = topics.parse(topic)
        assert parsed is not None
        self.epoch, raw = unseal(topic, self.key, payload)
        if parsed.what == "applied":
            self.applied.append(msgspec.json.decode(raw, type=Applied))
            return
        command = msgspec.json.decode(raw, type=Command)
        if isinstance(command.body, HelloAnswer):
            self.greeted.append(command.body)
            return
        self.orders.append(command)

    def last(self, kind: type, run: str | None = None) -> Command:
        """The newest order of a kind."""
        return next(
            order for order in reversed(self.orders) if isinstance(order.body, kind) and run in (None, order.run)
        )

    def has(self, kind: type) -> bool:
        return any(isinstance(order.body, kind) for order in self.orders)

    def say_hello(self, settings: tuple[MachineSettings, ...] = (), **more: Any) -> None:
        """Presence, hello, and a picture of each machine at rest."""
        topic = topics.agent_online(SITE, self.id)
        self._publish(topic, seal(topic, self.epoch, self.key, Online(online=True, at=AT, session=self.session)))
        claims = more.pop("claims", {})
        hello = Hello(
            nonce=secrets.token_hex(8),
            next_seq=self.seq + 1,
            highest_applied=max((item.up_to for item in self.applied), default=0),
            machines=tuple(
                MachineClaims(machine=name, highest_claim=claims.get(name, 0), stop_no=0) for name in self.machines
            ),
            settings=settings,
            **more,
        )
        self.raw_report(hello, seq=0)
        for machine in self.machines:
            self.picture(machine, "idle")

    def picture(self, machine: str, state: str, **more: Any) -> None:
        self.rev += 1
        snapshot = StateSnapshot(
            machine=machine, journal_id=self.journal, boot_no=self.boot_no, rev=self.rev, at=AT, state=state, **more
        )
        topic = topics.state(SITE, machine)
        self._publish(topic, seal(topic, self.epoch, self.key, snapshot))

    def make_report(self, body: Any, seq: int | None = None) -> tuple[str, bytes]:
        """The next report, sealed but not sent."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        report = Report(journal_id=self.journal, seq=seq, boot_no=self.boot_no, agent=self.id, at=AT, body=body)
        topic = topics.agent_reports(SITE, self.id)
        sealed = (topic, seal(topic, self.epoch, self.key, report))
        if seq:
            self.reports[seq] = sealed
        return sealed

    def raw_report(self, body: Any, seq: int | None = None) -> None:
        self._publish(*self.make_report(body, seq))

    def answer(self, command: Command, state: str, code: str = "", **data: Any) -> None:
        self.raw_report(
            Answer(
                command=command.id,
                run=command.run,
                machine=command.machine,
                claim_no=command.claim_no,
                state=state,
                code=code,
                data=data,
            )
        )

    def prepare(self, token: str = "token-1", valid_s: int = 900) -> Command:  # noqa: S107 — no password
        """Take the newest prepare and offer a token for it."""
        order = self.last(Prepare)
        self.answer(order, "accepted")
        self.raw_report(
            Prepared(run=order.run, machine=order.machine, claim_no=order.claim_no, token=token, valid_s=valid_s)
        )
        return order

    def start(self, order: Command) -> None:
        self.answer(order, "accepted")
        self.answer(order, "succeeded")
        self.raw_report(Started(run=order.run, machine=order.machine, claim_no=order.claim_no))

    def end(self, order: Command, result: str = "succeeded", **facts: Any) -> None:
        """Report the end of the run that `order` was about, 10 minutes and 4 m of filament unless said otherwise."""
        given: dict[str, Any] = {"seconds": 600, "commanded_mm": (4000.0,), "lines": 100, "total_lines": 100, **facts}
        self.raw_report(Ended(run=order.run, machine=order.machine, claim_no=order.claim_no, result=result, **given))
