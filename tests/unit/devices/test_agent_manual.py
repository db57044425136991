"""The whole agent on a wire without a broker, with a machine that a person runs: orders, facts, restarts, bad wires."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fablab import topics
from fablab.bus_local import LocalBus, LocalNet
from fablab.clock import SystemClock
from fablab.config import AgentSettings, Config, Site
from fablab.devices.agent import Agent
from fablab.devices.agent_token import AgentToken
from fablab.devices.journal import Journal
from fablab.messages import (
    Cancel,
    Cleared,
    Configure,
    Declare,
    EmergencyStop,
    Incident,
    MachineSettings,
    Online,
    Pause,
    Paused,
    PlateUnsure,
    Prepare,
    Prepared,
    ReleaseStop,
    Resume,
    Revoke,
    Start,
    Started,
    StopConfirmed,
    seal,
)
from tests.builders_scripted_hub import AGENT, EPOCH, KEY, SITE, ScriptedHub, go, prepare

Until = Callable[..., None]
TOKEN = AgentToken(agent=AGENT, mqtt_user="a", mqtt_password="p", http_token="h", hmac_key=KEY.hex())


def config_in(folder: Path, machines: tuple[str, ...] = ("bambu",)) -> Config:
    return Config(
        site=Site(id=SITE),
        agent=AgentSettings(id=AGENT, hub_url="http://127.0.0.1:9"),
        machines=tuple(MachineSettings(id=name, driver="manual") for name in machines),
        folder=str(folder),
    )


@contextmanager
def living(
    net: LocalNet, folder: Path, config: Config | None = None, orderly: bool = True, greet: bool = True
) -> Iterator[Agent]:
    config = config or config_in(folder)
    clock = SystemClock()
    holder: list[Agent] = []
    bus = LocalBus(net, will=lambda: holder[0].presence.will())
    stops = LocalBus(net)
    agent = Agent(config, TOKEN, clock, Journal(folder / "journal.db", clock.now()), bus, stops)
    holder.append(agent)
    agent.start()
    stop = threading.Event()
    thread = threading.Thread(target=agent.run, args=(stop,), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 15
        while greet and not agent.presence.greeted and time.monotonic() < deadline:
            time.sleep(0.01)
        yield agent
    finally:
        stop.set()
        thread.join(10)
        if orderly:
            agent.stop()
        else:  # as a killed process: nothing is written or said any more
            bus.cut()
            stops.cut()
            agent.supervisor.halt("now", 5)
            agent.journal.shut()


@pytest.fixture
def net() -> Iterator[LocalNet]:
    net = LocalNet().start()
    yield net
    net.stop()


@pytest.fixture
def hub(net: LocalNet) -> ScriptedHub:
    bus = LocalBus(net)
    hub = ScriptedHub(bus)
    bus.start()
    return hub


def test_a_run_from_prepare_to_declared_end(net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until) -> None:
    with living(net, tmp_path):
        start = go(hub, until, "bambu", "run-1")
        until(lambda: hub.state_of(start.id) == "succeeded")
        assert len(hub.bodies(Started, "run-1")) == 1
        until(lambda: hub.state("bambu") == "running")
        hub.order("bambu", Declare(what="finished", minutes=95, grams=31.5), "run-1", 1)
        until(lambda: hub.ended("run-1"))
        ended = hub.ended("run-1")
        assert ended is not None
        assert (ended.result, ended.kind, ended.seconds, ended.declared_g) == ("succeeded", "declared", 5700, 31.5)
        assert (ended.job, ended.payer, ended.claim_no) == ("job-1", "Camille Roux", 1)
        until(lambda: hub.state("bambu") == "idle")
    assert hub.online[-1].online is False
    assert hub.states["bambu"].state == "offline"


def test_an_order_that_comes_again_is_answered_again_and_never_done_twice(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path):
        start = go(hub, until, "bambu", "run-1")
        until(lambda: hub.state_of(start.id) == "succeeded")
        done = hub.order("bambu", Declare(what="finished", minutes=1), "run-1", 1)
        until(lambda: hub.ended("run-1"))
        for _ in range(5):
            hub.send(start)
            hub.send(done)
        marker = hub.order("bambu", prepare(), "run-2", 2)
        until(lambda: hub.state_of(marker.id) == "succeeded")
        assert len(hub.bodies(Started)) == 1
        assert {answer.state for answer in hub.answers(start.id)} == {"accepted", "succeeded"}


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (lambda hub, token: hub.order("bambu", Start(token="guess"), "run-1", 1), "token_void"),
        (lambda hub, token: hub.order("bambu", Start(token=token), "run-1", 2), "not_prepared"),
        (lambda hub, token: hub.order("bambu", Start(token=token), "run-9", 1), "not_prepared"),
        (lambda hub, token: hub.order("bambu", Start(token=token), "run-1", 1, v=99), "version_unknown"),
        (lambda hub, token: hub.order("bambu", prepare(), "run-0", 0), "claim_old"),
        (lambda hub, token: hub.order("bambu", Declare(what="finished"), "run-1", 1), "not_this_run"),
        (lambda hub, token: hub.order("bambu", Resume(), "run-1", 1), "not_this_run"),
    ],
)
def test_what_does_not_fit_is_rejected_and_says_why(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until, order: Callable[..., object], code: str
) -> None:
    with living(net, tmp_path):
        hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: hub.token("run-1"))
        sent = order(hub, hub.token("run-1"))
        until(lambda: hub.state_of(sent.id) == "rejected")
        assert hub.code_of(sent.id) == code
        assert not hub.bodies(Started)


def test_a_token_is_good_once_and_a_new_prepare_voids_the_old_one(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path):
        hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: hub.token("run-1"))
        old = hub.token("run-1")
        hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: hub.token("run-1") != old)
        late = hub.order("bambu", Start(token=old), "run-1", 1)
        until(lambda: hub.state_of(late.id) == "rejected")
        good = hub.order("bambu", Start(token=hub.token("run-1")), "run-1", 1)
        until(lambda: hub.state_of(good.id) == "succeeded")
        twice = hub.order("bambu", Start(token=hub.token("run-1")), "run-1", 1)
        until(lambda: hub.state_of(twice.id) == "rejected")
        assert hub.code_of(twice.id) == "machine_busy"


@pytest.mark.parametrize("body", [Cancel(by="Ada"), Revoke()])
def test_a_cancel_that_overtakes_the_start_closes_the_claim_for_ever(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until, body: Cancel | Revoke
) -> None:
    with living(net, tmp_path):
        hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: hub.token("run-1"))
        cancel = hub.order("bambu", body, "run-1", 1, stop_no=1)
        until(lambda: hub.state_of(cancel.id) == "succeeded")
        assert hub.answers(cancel.id)[-1].data == {"became": "never_started"}
        start = hub.order("bambu", Start(token=hub.token("run-1")), "run-1", 1, stop_no=1)
        until(lambda: hub.state_of(start.id) == "rejected")
        assert hub.code_of(start.id) == "claim_closed"
    with living(net, tmp_path):
        again = hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: hub.state_of(again.id) == "rejected")
        assert hub.code_of(again.id) == "claim_closed"


def test_a_late_start_or_resume_never_overtakes_a_stop(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path):
        start = go(hub, until, "bambu", "run-1")
        until(lambda: hub.state_of(start.id) == "succeeded")
        pause = hub.order("bambu", Pause(by="Ada", staff=True), "run-1", 1, stop_no=4)
        until(lambda: hub.state_of(pause.id) == "succeeded")
        assert hub.bodies(Paused)[0].by == "Ada"
        late = hub.order("bambu", Resume(), "run-1", 1, stop_no=3)
        until(lambda: hub.state_of(late.id) == "rejected")
        assert hub.code_of(late.id) == "stop_overtook"
        until(lambda: hub.state("bambu") == "paused")
        seen = hub.order("bambu", Resume(), "run-1", 1, stop_no=4)
        until(lambda: hub.state_of(seen.id) == "succeeded")


def test_an_emergency_stop_latches_until_a_person_releases_it_and_over_a_restart(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path):
        start = go(hub, until, "bambu", "run-1")
        until(lambda: hub.state_of(start.id) == "succeeded")
        hub.order("bambu", EmergencyStop(by="Ada"), stop_no=7)
        until(lambda: hub.bodies(StopConfirmed))
        assert (hub.bodies(StopConfirmed)[0].how, hub.bodies(StopConfirmed)[0].stop_no) == ("none", 7)
        until(lambda: hub.ended("run-1"))
        until(lambda: hub.states["bambu"].latched)
    with living(net, tmp_path):
        refused = hub.order("bambu", prepare(), "run-2", 2)
        until(lambda: hub.state_of(refused.id) == "rejected")
        assert hub.code_of(refused.id) == "latched"
        release = hub.order("bambu", ReleaseStop(by="Ada"), stop_no=7)
        until(lambda: hub.state_of(release.id) == "succeeded")
        assert go(hub, until, "bambu", "run-3", 3, stop_no=7)
        until(lambda: hub.bodies(Started, "run-3"))


def test_a_token_is_void_after_a_restart_and_a_started_run_goes_on(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    config = config_in(tmp_path, ("bambu", "other"))
    with living(net, tmp_path, config, orderly=False):
        hub.order("other", prepare(), "run-2", 1)
        until(lambda: hub.token("run-2"))
        start = go(hub, until, "bambu", "run-1")
        until(lambda: hub.state_of(start.id) == "succeeded")
    with living(net, tmp_path, config):
        late = hub.order("other", Start(token=hub.token("run-2")), "run-2", 1)
        until(lambda: hub.state_of(late.id) == "rejected")
        until(lambda: hub.state("bambu") == "running" and hub.states["bambu"].boot_no == 2)
        hub.send(start)
        hub.order("bambu", Declare(what="failed", minutes=3), "run-1", 1)
        until(lambda: hub.ended("run-1"))
        assert hub.ended("run-1").result == "failed"  # type: ignore[union-attr]
        assert len(hub.bodies(Started, "run-1")) == 1


def test_reports_wait_for_a_hub_that_was_away_and_come_once_each_in_order(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path) as agent:
        start = go(hub, until, "bambu", "run-1")
        until(lambda: hub.state_of(start.id) == "succeeded")
        agent._bus.cut()  # type: ignore[attr-defined]
        done = hub.order("bambu", Declare(what="finished", minutes=2), "run-1", 1)
        agent.supervisor.worker("bambu").give(done)  # type: ignore[union-attr]
        until(lambda: agent.journal.machine("bambu").started_run == "")
        assert hub.ended("run-1") is None
        agent._bus.mend()  # type: ignore[attr-defined]
        until(lambda: hub.ended("run-1"))
        journal = agent.journal.journal_id
        until(lambda: agent.journal.applied == agent.journal.next_seq - 1)
        assert not hub.conflicts
        assert sorted(seq for j, seq in hub.reports if j == journal) == list(range(1, agent.journal.next_seq))


def test_forged_malformed_and_replayed_orders_do_nothing_and_are_told_once(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path) as agent:
        until(lambda: agent.presence.greeted)
        start = go(hub, until, "bambu", "run-1")
        until(lambda: hub.state_of(start.id) == "succeeded")
        topic = topics.stop(SITE, "bambu")
        for _ in range(3):
            hub.bus.publish(topic, seal(topic, EPOCH, b"another key of 32 bytes ........", start))
        hub.bus.publish(topic, b"not json at all")
        hub.bus.publish(topic, b"[" * 300_000)
        # a true order on the topic of another kind of order
        order = topics.order(SITE, "bambu")
        hub.bus.publish(order, seal(order, EPOCH, KEY, hub.orders[start.id][1]))
        cancel = hub.order("bambu", Cancel(), "nobody", 9)
        hub.bus.publish(order, seal(order, EPOCH, KEY, cancel))
        until(lambda: {"message_forged", "message_malformed"} <= {i.code for i in hub.bodies(Incident)})
        assert agent.wire.dropped["message_forged"] == 3
        assert [i.code for i in hub.bodies(Incident)].count("message_forged") == 1
        until(lambda: agent.wire.dropped["message_misplaced"] == 1)
        assert len(hub.bodies(Started)) == 1


def test_orders_of_another_epoch_wait_for_a_hello_that_is_answered(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path) as agent:
        until(lambda: agent.presence.greeted)
        hellos = len(hub.hellos)
        hub.answering = False
        hub.epoch = "epoch-2"  # the database was restored
        order = hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: len(hub.hellos) > hellos)
        assert agent.wire.dropped["message_old_epoch"] >= 1
        assert not hub.answers(order.id)
        hub.answering = True
        hub.answer_hello(hub.hellos[-1])
        until(lambda: agent.journal.epoch == "epoch-2")
        hub.send(order)
        until(lambda: hub.state_of(order.id) == "succeeded")
        # and nothing of before counts any more
        dropped = agent.wire.dropped["message_old_epoch"]
        hub.send(hub.order("bambu", prepare(), "run-2", 2), epoch="epoch-1")
        until(lambda: agent.wire.dropped["message_old_epoch"] > dropped)


def test_a_recorded_answer_to_a_hello_is_no_answer(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path):
        until(lambda: hub.hellos)
        assert [command for _, command in hub.orders.values() if command.machine == ""]
    hub.answering = False
    with living(net, tmp_path, greet=False) as agent:
        until(lambda: len(hub.hellos) >= 2)
        for _, command in list(hub.orders.values()):
            hub.send(command)
        until(lambda: len(hub.hellos) >= 3, seconds=10)
        assert not agent.presence.greeted


def test_a_new_card_is_a_new_journal_and_its_plates_are_unsure(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path / "old") as agent:
        until(lambda: agent.presence.greeted)
        first = agent.journal.journal_id
    with living(net, tmp_path / "new", config_in(tmp_path / "new")) as agent:
        until(lambda: [p for p in hub.bodies(PlateUnsure) if p.why == "new_journal"])
        assert agent.journal.journal_id != first
        until(lambda: "bambu" in hub.states and hub.states["bambu"].code == "new_journal")
        hub.order("bambu", Cleared(by="Ada"))
        until(lambda: hub.states["bambu"].code == "")


def test_a_card_that_was_rolled_back_begins_a_new_journal_and_loses_nothing_it_says(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path) as agent:
        until(lambda: agent.journal.applied > 0)
    image = (tmp_path / "journal.db").read_bytes()
    with living(net, tmp_path) as agent:
        old = agent.journal.journal_id
        start = go(hub, until, "bambu", "run-1")
        until(lambda: hub.state_of(start.id) == "succeeded")
        hub.order("bambu", Declare(what="finished", minutes=1), "run-1", 1)
        until(lambda: hub.ended("run-1") and agent.journal.applied == agent.journal.next_seq - 1)
    for file in tmp_path.glob("journal.db*"):
        file.unlink()
    (tmp_path / "journal.db").write_bytes(image)
    with living(net, tmp_path) as agent:
        until(lambda: agent.journal.journal_id != old and agent.presence.greeted)
        until(lambda: [p for p in hub.bodies(PlateUnsure) if p.why == "new_journal"])
        assert not hub.conflicts
        start = go(hub, until, "bambu", "run-2", 2)
        until(lambda: hub.state_of(start.id) == "succeeded")
        assert not hub.conflicts


def test_two_live_sessions_of_one_agent_start_nothing(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path) as agent:
        until(lambda: agent.presence.greeted)
        topic = topics.agent_online(SITE, AGENT)
        hub.bus.publish(topic, seal(topic, EPOCH, KEY, Online(online=True, at="", session="other")), retain=True)
        until(lambda: [i for i in hub.bodies(Incident) if i.code == "two_sessions"])
        refused = hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: hub.state_of(refused.id) == "rejected")
        assert hub.code_of(refused.id) == "two_sessions"
        hub.bus.publish(topic, seal(topic, EPOCH, KEY, Online(online=False, at="", session="other")), retain=True)
        until(lambda: not agent.presence.clash)
        assert go(hub, until, "bambu", "run-2", 2)
        until(lambda: hub.online[-1].online and hub.online[-1].session == agent.presence.session)


def test_machines_of_the_database_come_by_order_and_stay(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    given = MachineSettings(id="laser", driver="manual", kind="laser")
    with living(net, tmp_path):
        order = hub.order("", Configure(revision=3, machines=(given,)))
        until(lambda: hub.state_of(order.id) == "succeeded")
        until(lambda: hub.state("laser") == "idle")
    with living(net, tmp_path):
        until(lambda: hub.state("laser") == "idle" and hub.states["laser"].boot_no == 2)
        assert hub.hellos[-1].body.settings_revision == 3  # type: ignore[union-attr]
        assert {m.id for m in hub.hellos[-1].body.settings} == {"bambu"}  # type: ignore[union-attr]


def test_a_full_card_prepares_nothing_and_says_why(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    with living(net, tmp_path) as agent:
        monkeypatch.setattr(agent.journal, "free_bytes", lambda: 63 * 1024 * 1024)
        until(lambda: "bambu" in hub.states and hub.states["bambu"].code == "disk_full", seconds=20)
        refused = hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: hub.state_of(refused.id) == "rejected")
        assert hub.code_of(refused.id) == "disk_full"


@pytest.mark.parametrize("seed", range(4))
def test_on_a_wire_that_drops_repeats_and_reorders_each_run_starts_once_and_ends_once(
    tmp_path: Path, until: Until, seed: int
) -> None:
    net = LocalNet(seed, drop=0.25, repeat=0.25, reorder=0.3).start()
    bus = LocalBus(net)
    hub = ScriptedHub(bus)
    bus.start()

    def lossy(condition: Callable[[], object]) -> None:
        def again() -> object:
            if not condition():
                hub.repeat()
                for journal in list(hub.applied):
                    hub.confirm(journal)
            return condition()

        until(again, seconds=60)

    try:
        with living(net, tmp_path, greet=False):
            for number in range(1, 4):
                run = f"run-{number}"
                hub.order("bambu", prepare(), run, number)
                lossy(lambda run=run: hub.token(run))
                hub.order("bambu", Start(token=hub.token(run)), run, number)
                lossy(lambda run=run: hub.bodies(Started, run))
                hub.order("bambu", Declare(what="finished", minutes=number), run, number)
                lossy(lambda run=run: hub.ended(run))
        assert [len(hub.bodies(Started, f"run-{n}")) for n in (1, 2, 3)] == [1, 1, 1]
        assert not hub.conflicts
    finally:
        net.stop()


def test_a_prepare_is_offered_again_before_its_token_lapses(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fablab.devices import desk

    monkeypatch.setattr(desk, "TOKEN_S", 2)
    monkeypatch.setattr(desk, "RENEW_S", 1)
    with living(net, tmp_path):
        hub.order("bambu", prepare(), "run-1", 1)
        until(lambda: len(hub.bodies(Prepared, "run-1")) >= 3)
        tokens = [offer.token for offer in hub.bodies(Prepared, "run-1")]
        assert len(set(tokens)) == len(tokens)
        old = hub.order("bambu", Start(token=tokens[0]), "run-1", 1)
        until(lambda: hub.state_of(old.id) == "rejected")
        assert hub.code_of(old.id) == "token_void"


def test_orders_with_an_old_term_are_left_to_the_hub_that_acts(
    net: LocalNet, hub: ScriptedHub, tmp_path: Path, until: Until
) -> None:
    with living(net, tmp_path) as agent:
        until(lambda: agent.presence.greeted)
        old = hub.order("bambu", prepare(), "run-1", 1, term=hub.term - 1)
        new = hub.order("bambu", prepare(), "run-2", 2)
        until(lambda: hub.state_of(new.id) == "succeeded")
        assert not hub.answers(old.id)
        assert isinstance(hub.orders[old.id][1].body, Prepare)
