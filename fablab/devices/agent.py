"""The process beside the machines: bus ↔ journal ↔ supervisor. Needs neither database nor pages.

Composition and the wire's side of things; what an order does to a machine is in desk and stops.
"""

import logging
import queue
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec

from fablab import topics
from fablab.bus import Bus, Message, MqttBus, address
from fablab.clock import Clock, SystemClock
from fablab.config import Config
from fablab.devices.agent_token import AgentToken, load_token
from fablab.devices.drivers import Surroundings, build
from fablab.devices.files_client import FilesClient
from fablab.devices.journal import MIN_FREE_BYTES, Journal, ReportRow
from fablab.devices.machine import Site
from fablab.devices.pictures import Pictures
from fablab.devices.preparing import Preparer, Read, read_in_child
from fablab.devices.presence import Presence
from fablab.devices.reporter import Reporter, answer_to, report_of
from fablab.devices.restart import open_journal, settle_unfinished, unsure_plates
from fablab.devices.supervisor import Build, Supervisor
from fablab.devices.wire import Wire
from fablab.messages import (
    NATURE,
    Applied,
    Command,
    Configure,
    Hello,
    HelloAnswer,
    Incident,
    MachineClaims,
    MachineSettings,
    Nature,
    Report,
)

log = logging.getLogger(__name__)

TICK_S = 0.25
RESEND_S = 10.0
DISK_S = 5.0
FILES_S = 3600.0
KEEP_FILES = timedelta(days=2)
"""A job file that no run needs stays this long: a reprint needs not fetch it again."""
PATIENCE_S = 24.0
"""How long a graceful stop may take with on_stop = abort."""
WAIT_S = 7 * 24 * 3600.0
"""With on_stop = wait: longer than any print."""
CONFIGURED = "configure"


class Agent:
    """One agent. `bus` carries everything but stops, which have `stop_bus`, a connection and a thread of their own."""

    def __init__(
        self,
        config: Config,
        token: AgentToken,
        clock: Clock,
        journal: Journal,
        bus: Bus,
        stop_bus: Bus,
        *,
        make: Build = build,
        read: Read = read_in_child,
    ) -> None:
        self.config, self.journal, self._clock = config, journal, clock
        self._bus, self._stop_bus = bus, stop_bus
        self._site, self._id = config.site.id, config.agent.id
        self.wire = Wire(bus, token.key, journal)
        self.presence = Presence(self.wire, clock, self._site, self._id, self._hello)
        self.reporter = Reporter(journal, clock, self._send)
        self._files = files = FilesClient(
            config.agent.hub_url, config.resolve(config.agent.journal).parent / "job-files"
        )
        shared = Site(
            self.reporter, Preparer(files, read), clock, config.agent.speed, self.blocked, lambda: journal.term
        )
        self.supervisor = Supervisor(shared, Surroundings(Path(config.folder), bus), make)
        self._pictures = Pictures(self.wire, self._site, clock)
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._heard_of: set[str] = set()
        self._stopping = threading.Event()
        self._disk_full = False
        self._due = {"second": 0.0, "resend": 0.0, "disk": 0.0, "files": 0.0}

    # ---- life

    def start(self) -> None:
        """Take up what an earlier life left, start the machines, then the wire."""
        settle_unfinished(self.reporter)
        unsure_plates(self.reporter, self._machines())
        self._look_at_disk()
        me = (self._site, self._id)
        self._bus.subscribe(topics.agent_applied(*me), self._on_applied)
        self._bus.subscribe(topics.agent_order(*me), self._on_agent_order)
        self._bus.subscribe(topics.agent_online(*me), self._on_online)
        self._bus.on_link(lambda up: self._tasks.put(partial(self._on_link, up)))
        self._run_machines()
        self._bus.start()
        self._stop_bus.start()

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.is_set():
            self.step(TICK_S)

    def step(self, timeout: float) -> None:
        """Do what came in, or is due, within about `timeout` seconds."""
        try:
            self._tasks.get(timeout=timeout)()
            while True:
                self._tasks.get_nowait()()
        except queue.Empty:
            pass
        self._tick()

    def stop(self, policy: str | None = None) -> None:
        """Refuse new starts → safe point → heaters off → flush the journal → leave the bus."""
        self._stopping.set()
        policy = policy or self.config.agent.on_stop
        if not self.supervisor.halt(policy, WAIT_S if policy == "wait" else PATIENCE_S):
            log.warning("not every machine came to a safe point in time")
        self._write_positions()
        self.reporter.retry()
        self._pictures.publish(self.supervisor.workers(), everything=True)
        self.presence.leave()
        self.journal.say_goodbye()
        self._bus.close()
        self._stop_bus.close()
        self.journal.shut()

    def blocked(self) -> str:
        """Why nothing may be prepared or started now; empty: nothing speaks against it."""
        if self._stopping.is_set():
            return "stopping"
        if self.presence.clash:
            return "two_sessions"
        if self._disk_full:
            return "disk_full"
        return "journal_full" if self.reporter.blocked else ""

    # ---- machines

    def _machines(self) -> list[MachineSettings]:
        """Those of fablab.toml, and those that the database gave to this agent."""
        own = {machine.id: machine for machine in self.config.machines}
        given = {machine.id: machine for machine in self._configured().machines}
        return list({**given, **own}.values())

    def _configured(self) -> Configure:
        text = self.journal.setting(CONFIGURED)
        return msgspec.json.decode(text, type=Configure) if text else Configure(revision=0, machines=())

    def _run_machines(self) -> None:
        wanted = self._machines()
        for machine in wanted:
            if machine.id not in self._heard_of:
                self._heard_of.add(machine.id)
                self._bus.subscribe(topics.order(self._site, machine.id), self._on_order)
                self._stop_bus.subscribe(topics.stop(self._site, machine.id), self._on_stop)
        self.supervisor.apply(wanted)

    # ---- what comes in (on the threads of the two connections)

    def _on_order(self, message: Message) -> None:
        """Acknowledged to the broker in any case; only our own `accepted` counts."""
        command = self._command(message, stops=False)
        worker = None if command is None else self.supervisor.worker(command.machine)
        if command is not None and worker is not None:
            worker.give(command)

    def _on_stop(self, message: Message) -> None:
        command = self._command(message, stops=True)
        worker = None if command is None else self.supervisor.worker(command.machine)
        if command is not None and worker is not None:
            worker.stop_now(command)

    def _command(self, message: Message, stops: bool) -> Command | None:
        opened = self.wire.open(message, Command)
        parsed = topics.parse(message.topic)
        if opened is None or parsed is None or message.retained:
            return None
        epoch, command = opened
        is_stop = NATURE[type(command.body)] is Nature.STOP
        if command.machine != (parsed.machine or "") or is_stop is not stops:
            self.wire.drop("message_misplaced")
            return None
        if epoch != self.journal.epoch and not is_stop and not isinstance(command.body, HelloAnswer):
            # a restored database, or a recorded order of before: the hub answers a hello, a recording does not
            self.wire.drop("message_old_epoch")
            self._tasks.put(self.presence.greet_again)
            return None
        return command

    def _on_agent_order(self, message: Message) -> None:
        command = self._command(message, stops=False)
        opened = self.wire.open(message, Command)
        if command is None or opened is None:
            return
        if isinstance(command.body, HelloAnswer):
            self._tasks.put(partial(self._greeted, opened[0], command, command.body))
        elif isinstance(command.body, Configure):
            self._tasks.put(partial(self._configure, command, command.body))

    def _on_applied(self, message: Message) -> None:
        opened = self.wire.open(message, Applied)
        if opened is not None and not message.retained:
            self._tasks.put(partial(self._applied, *opened))

    def _on_online(self, message: Message) -> None:
        if self.presence.heard(message):
            self._tasks.put(partial(self._incident, "two_sessions"))

    # ---- what that means (on the agent's own thread)

    def _on_link(self, up: bool) -> None:
        self.presence.link(up)
        if up:
            self._pictures.forget()

    def _greeted(self, epoch: str, command: Command, answer: HelloAnswer) -> None:
        if answer.journal_id != self.journal.journal_id or not self.presence.is_answer(answer):
            return
        if answer.applied >= self.journal.next_seq:
            # the hub knows reports of this journal that are not in it: an older image of the card was put back
            log.error("this journal is an old copy: a new one begins, and each plate must be looked at")
            self.journal.begin_anew(self._clock.now())
            self.journal.greeted(epoch, 0, command.term)
            unsure_plates(self.reporter, self._machines(), "new_journal")
            self.presence.greet_again()
            return
        self.journal.greeted(epoch, answer.applied, command.term)
        self.presence.greeted = True
        self._pictures.forget()
        self._resend(self.journal.applied)

    def _configure(self, command: Command, body: Configure) -> None:
        if self.journal.command(command.id) is not None:
            self.reporter.again(command.id)
            return

        def keep() -> None:
            self.journal.insert_command(command.id, "", "", 0, NATURE[Configure], "succeeded", self._clock.now())
            if body.revision > self._configured().revision:
                self.journal.keep_setting(CONFIGURED, msgspec.json.encode(body).decode())

        self.reporter.say(answer_to(command, "succeeded"), also=keep)
        self._run_machines()

    def _applied(self, epoch: str, body: Applied) -> None:
        if body.journal_id != self.journal.journal_id or epoch != self.journal.epoch or body.term < self.journal.term:
            return
        self.journal.heard_term(body.term)
        self.journal.confirm(body.up_to)
        if body.missing_from is not None:
            self._resend(max(self.journal.applied, body.missing_from - 1))

    # ---- what goes out

    def _hello(self, nonce: str) -> bool:
        rows = {row.machine: row for row in self.journal.machines()}
        names = dict.fromkeys([*(machine.id for machine in self._machines()), *rows])
        claims = [self.journal.machine(name) for name in names]
        body = Hello(
            nonce=nonce,
            next_seq=self.journal.next_seq,
            highest_applied=self.journal.applied,
            machines=tuple(
                MachineClaims(
                    machine=row.machine,
                    highest_claim=row.highest_claim,
                    stop_no=row.stop_no,
                    started_run=row.started_run,
                )
                for row in claims
            ),
            settings_revision=self._configured().revision,
            settings=self.config.machines,
            previous_journal=self.journal.given_up,
        )
        report = Report(
            journal_id=self.journal.journal_id, seq=0, boot_no=self.journal.boot_no, agent=self._id,
            at=self._clock.now().isoformat(), body=body,
        )  # fmt: skip
        return self.wire.publish(topics.agent_reports(self._site, self._id), report)

    def _send(self, row: ReportRow) -> None:
        """Publish a report; one that does not leave now is sent again later."""
        if self.presence.greeted:
            report = report_of(row, self.journal.journal_id, self._id)
            self.wire.publish(topics.agent_reports(self._site, self._id), report)

    def _resend(self, after: int) -> None:
        for row in self.journal.reports_after(after):
            self._send(row)

    def _incident(self, code: str) -> None:
        self.reporter.say(Incident(code=code))

    # ---- what is due

    def _tick(self) -> None:
        now = self._clock.monotonic()
        self.presence.tick()
        if self.journal.epoch:  # before the first hello nobody knows our machines
            self._pictures.publish(self.supervisor.workers())
        if now >= self._due["second"]:
            self._due["second"] = now + 1
            self._write_positions()
            self.supervisor.watch()
            self.reporter.retry()
            while self.wire.news:
                self._incident(self.wire.news.pop())
        if now >= self._due["resend"]:
            self._due["resend"] = now + RESEND_S
            if self.presence.greeted and self.journal.applied + 1 < self.journal.next_seq:
                self._resend(self.journal.applied)
        if now >= self._due["disk"]:
            self._look_at_disk()
        if now >= self._due["files"]:
            self._due["files"] = now + FILES_S
            keep = {Path(row.path) for row in self.journal.machines() if row.path}
            self._files.forget(keep, (self._clock.now() - KEEP_FILES).timestamp())

    def _write_positions(self) -> None:
        positions = [p for worker in self.supervisor.workers() if (p := worker.latest_position) is not None]
        if positions:
            self.journal.write_positions(positions)

    def _look_at_disk(self) -> None:
        self._due["disk"] = self._clock.monotonic() + DISK_S
        full = self.journal.free_bytes() < MIN_FREE_BYTES
        if full is not self._disk_full:
            log.warning("nothing is prepared: less than 64 MB are free" if full else "there is room again")
        self._disk_full = full


def run_agent(config: Config) -> int:
    """Be the agent of fablab.toml until SIGTERM or SIGINT; the second one means now. Returns the exit status."""
    token = load_token(config.resolve(config.agent.token_file))
    journal = open_journal(config.resolve(config.agent.journal), SystemClock().now())
    clock = SystemClock(not_before=journal.last_time)
    where = address(
        config.broker.url, host=config.broker.host, port=config.broker.port, password=token.mqtt_password,
        user=token.mqtt_user, ca_file=config.broker.ca_file and str(config.resolve(config.broker.ca_file)),
    )  # fmt: skip
    name = f"fablab-agent-{config.site.id}-{config.agent.id}"
    wills: list[Callable[[], Message]] = []
    bus = MqttBus(where, f"{name}-{journal.boot_no}-{journal.journal_id[-6:]}", will=lambda: wills[0]())
    stops = MqttBus(where, f"{name}-{journal.boot_no}-{journal.journal_id[-6:]}-stop")
    agent = Agent(config, token, clock, journal, bus, stops)
    wills.append(agent.presence.will)
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            log.warning("stopping now: runs that need us end here")
            agent.supervisor.halt("now", 0.0)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    agent.start()
    log.info(
        "agent %s of %s: journal %s, boot %d", config.agent.id, config.site.id, journal.journal_id, journal.boot_no
    )
    agent.run(stop)
    agent.stop()
    return 0
