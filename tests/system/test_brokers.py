"""Our bus on real brokers: the embedded one, and Mosquitto with the files that we generate."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fablab import broker as broker_module
from fablab import bus as bus_module
from fablab.broker import EmbeddedBroker, mosquitto_hash, rumqttd_toml
from fablab.bus import Message, MqttBus
from fablab.refusals import Refusal
from tests.builders_brokers import AGENT, DEVICES, HUB, SECOND, Mosquitto, client, embedded, free_port

Until = Callable[..., None]
Broker = Mosquitto | EmbeddedBroker


class Wired:
    """A broker that is running and clients that are closed at the end."""

    def __init__(self, broker: Broker, port: int) -> None:
        self.broker, self.port = broker, port
        self.clients: list[MqttBus] = []

    def join(self, who: tuple[str, str], name: str, **more: object) -> MqttBus:
        made = client(self.port, who, name, **more)
        self.clients.append(made)
        made.start()
        return made


@pytest.fixture(params=["embedded", "mosquitto"])
def wired(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wired]:
    port = free_port()
    running: Broker = embedded(port) if request.param == "embedded" else Mosquitto(tmp_path / "mosquitto", port)
    wired = Wired(running.start(), port)
    yield wired
    for made in wired.clients:
        made.close()
    running.kill()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Wired]:
    running = Mosquitto(tmp_path / "mosquitto")
    wired = Wired(running.start(), running.port)
    yield wired
    for made in wired.clients:
        made.close()
    running.kill()


def collect(bus: MqttBus, pattern: str) -> list[Message]:
    got: list[Message] = []
    bus.subscribe(pattern, got.append)
    return got


def test_messages_arrive_also_large_ones_and_retained_ones_later(wired: Wired, until: Until) -> None:
    hub, agent = wired.join(HUB, "hub"), wired.join(AGENT, "agent")
    orders = collect(agent, "fablab/v1/nyons/m/mk3/order")
    assert hub.wait_connected(10)
    assert agent.wait_connected(10)
    big = b"x" * 250_000
    until(lambda: hub.publish("fablab/v1/nyons/m/mk3/order", big) and orders)
    assert orders[0].payload == big
    assert not orders[0].retained
    agent.publish("fablab/v1/nyons/m/mk3/state", b"picture", retain=True)
    states = collect(hub, "fablab/v1/+/m/+/state")
    until(lambda: states)
    late = wired.join(HUB, "late")
    again = collect(late, "fablab/v1/+/m/+/state")
    until(lambda: again and again[0].retained)


def test_a_wrong_password_is_one_clear_line(wired: Wired, until: Until, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fablab.bus")
    stranger = wired.join((HUB[0], "guess"), "stranger")
    until(lambda: any("stranger" in record.message for record in caplog.records))
    until(lambda: stranger._client is not None, seconds=1)
    assert not stranger.wait_connected(1.5)
    lines = [record.message for record in caplog.records if "stranger" in record.message]
    assert len(lines) == 1
    assert "wrong user or password" in lines[0] or "refuses user" in lines[0]
    assert "guess" not in lines[0]


def test_the_last_will_speaks_for_a_client_that_dies_and_not_for_one_that_leaves(wired: Wired, until: Until) -> None:
    watcher = wired.join(HUB, "watcher")
    got = collect(watcher, "fablab/v1/+/agent/+/online")
    assert watcher.wait_connected(10)
    code = f"""
import sys, time
from fablab.bus import Address, Message, MqttBus
bus = MqttBus(Address("127.0.0.1", {wired.port}, *{AGENT!r}), "mortal",
              will=lambda: Message("fablab/v1/nyons/agent/main/online", b"gone", 1, True))
bus.start()
assert bus.wait_connected(10)
print("up", flush=True)
if sys.stdin.readline().strip() == "leave":
    bus.close()
else:
    time.sleep(600)
"""
    for word, expected in (("leave", 0), ("die", 1)):
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline().strip() == "up"
        child.stdin.write(word + "\n")
        child.stdin.flush()
        if word == "die":
            child.kill()
        child.wait(20)
        child.stdin.close()
        child.stdout.close()
        until(lambda expected=expected: len(got) == expected, seconds=10)
    assert got[0].payload == b"gone"


def test_a_killed_broker_is_found_again_and_logged_once_down_and_once_up(
    wired: Wired, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fablab.bus")
    links: list[bool] = []
    agent = wired.join(AGENT, "agent")
    agent.on_link(links.append)
    orders = collect(agent, "fablab/v1/nyons/m/mk3/order")
    assert agent.wait_connected(10)
    wired.broker.kill()
    until(lambda: not agent.connected)
    assert agent.publish("fablab/v1/nyons/agent/main/reports", b"lost") is False
    until(lambda: any("no broker" in record.message for record in caplog.records))
    wired.broker.start()
    until(lambda: agent.connected, seconds=30)
    hub = wired.join(HUB, "hub")
    assert hub.wait_connected(10)
    until(lambda: hub.publish("fablab/v1/nyons/m/mk3/order", b"again") and orders, why="the subscription was lost")
    mine = [record.message for record in caplog.records if record.message.startswith("agent:")]
    assert len(mine) == 2
    assert links[-2:] == [False, True]


def test_a_handler_that_fails_does_not_end_the_wire(wired: Wired, until: Until) -> None:
    agent = wired.join(AGENT, "agent")

    def fail(_message: Message) -> None:
        raise ZeroDivisionError

    agent.subscribe("fablab/v1/nyons/m/mk3/stop", fail)
    got = collect(agent, "fablab/v1/nyons/m/mk3/order")
    hub = wired.join(HUB, "hub")
    assert agent.wait_connected(10)
    assert hub.wait_connected(10)
    stop, order = "fablab/v1/nyons/m/mk3/stop", "fablab/v1/nyons/m/mk3/order"
    until(lambda: hub.publish(stop, b"x") and hub.publish(order, b"y") and got)


def test_each_account_touches_its_own_topics_only(mosquitto: Wired, until: Until) -> None:
    """Both directions: what an account may do works, and everything of others is dropped."""
    hub, agent, far, plug = (
        mosquitto.join(who, name) for who, name in ((HUB, "hub"), (AGENT, "a"), (SECOND, "f"), (DEVICES, "p"))
    )
    seen = {name: collect(bus, "#") for name, bus in (("hub", hub), ("agent", agent), ("far", far), ("plug", plug))}
    for bus in (hub, agent, far, plug):
        assert bus.wait_connected(10)
    base, away = "fablab/v1/nyons", "fablab/v1/far"
    allowed = [
        (hub, f"{base}/m/mk3/order"), (hub, f"{base}/m/mk3/stop"), (hub, f"{base}/agent/main/applied"),
        (agent, f"{base}/m/mk3/state"), (agent, f"{base}/agent/main/reports"), (agent, f"{base}/agent/main/online"),
        (plug, "stat/saw/POWER"), (agent, "cmnd/saw/POWER"), (hub, "fablab/v1/hub/wake"),
    ]  # fmt: skip
    forbidden = [
        (agent, f"{base}/m/mk3/order"), (agent, f"{base}/m/mk3/stop"), (agent, f"{away}/m/xl/state"),
        (agent, f"{away}/agent/away/reports"), (agent, f"{base}/agent/other/reports"), (agent, "stat/saw/POWER"),
        (far, f"{base}/m/mk3/state"), (plug, f"{base}/m/mk3/order"), (plug, f"{base}/m/mk3/state"),
        (plug, "cmnd/saw/POWER"), (hub, f"{base}/m/mk3/state"), (hub, f"{base}/agent/main/reports"),
    ]  # fmt: skip
    until(lambda: hub.publish("fablab/v1/hub/wake", b"begin") and seen["hub"])
    until(lambda: hub.publish(f"{base}/m/mk3/order", b"begin") and seen["agent"])
    until(lambda: agent.publish("cmnd/saw/POWER", b"begin") and seen["plug"])
    for number, (bus, topic) in enumerate([*allowed, *forbidden]):
        bus.publish(topic, str(number).encode())
    # each connection keeps its order: when its last word is there, all before it was judged
    hub.publish("fablab/v1/hub/wake", b"end")
    agent.publish(f"{base}/agent/main/reports", b"end")
    far.publish(f"{away}/agent/away/reports", b"end")
    plug.publish("stat/saw/RESULT", b"end")
    until(lambda: sum(m.payload == b"end" for m in seen["hub"]) == 3)
    until(lambda: any(m.payload == b"end" for m in seen["agent"]))
    heard = {int(m.payload) for got in seen.values() for m in got if m.payload.isdigit()}
    assert heard == set(range(len(allowed)))
    assert {m.topic for m in seen["plug"]} == {"cmnd/saw/POWER"}
    assert not seen["far"]
    assert {m.topic for m in seen["agent"]} == {
        f"{base}/m/mk3/order", f"{base}/m/mk3/stop", f"{base}/agent/main/applied", f"{base}/agent/main/online",
        "stat/saw/POWER", "stat/saw/RESULT",
    }  # fmt: skip


def test_our_password_hash_is_mosquittos_own(tmp_path: Path) -> None:
    """The same salt and rounds through Mosquitto's own tool give the same line."""
    file = tmp_path / "passwords"
    file.write_text("", encoding="utf-8")
    subprocess.run(["mosquitto_passwd", "-b", str(file), "someone", "wörd"], check=True, capture_output=True)
    user, line = file.read_text(encoding="utf-8").strip().split(":")
    _, kind, iterations, salt, _digest = line.split("$")
    import base64

    assert (user, kind) == ("someone", "7")
    assert mosquitto_hash("wörd", base64.b64decode(salt), int(iterations)) == line


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.org"])
def test_the_embedded_broker_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(Refusal) as refusal:
        rumqttd_toml(host, 1883, {})
    assert (refusal.value.code, refusal.value.data) == ("broker_not_loopback", {"host": host})


def test_both_sides_mean_the_same_user() -> None:
    assert broker_module.EMBEDDED_USER == bus_module.EMBEDDED_USER


def test_the_embedded_broker_ends_with_its_parent(until: Until) -> None:
    port = free_port()
    code = f"""
import time
from fablab.broker import EmbeddedBroker
print(EmbeddedBroker({port}, {{"a": "b"}}).start().process.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.stdout.close()
    os.kill(pid, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split(")")[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    until(gone)


def test_a_stop_on_its_own_connection_passes_messages_that_nobody_acknowledges(tmp_path: Path, until: Until) -> None:
    """With Mosquitto's usual 20 in flight, 25 unacknowledged orders block what comes on the same connection."""
    running = Mosquitto(tmp_path / "mosquitto")
    running.reload("max_inflight_messages 1000", "max_inflight_messages 20")
    wired = Wired(running.start(), running.port)
    try:
        stuck = wired.join(AGENT, "orders", manual_ack=True)
        orders = collect(stuck, "fablab/v1/nyons/m/mk3/order")
        behind = collect(stuck, "fablab/v1/nyons/agent/main/order")
        stops_bus = wired.join(AGENT, "stops")
        stops = collect(stops_bus, "fablab/v1/nyons/m/mk3/stop")
        hub = wired.join(HUB, "hub")
        assert all(bus.wait_connected(10) for bus in (stuck, stops_bus, hub))
        flowing = threading.Event()
        until(lambda: hub.publish("fablab/v1/nyons/m/mk3/stop", b"first") and stops)
        for number in range(25):
            hub.publish("fablab/v1/nyons/m/mk3/order", str(number).encode())
        hub.publish("fablab/v1/nyons/agent/main/order", b"behind")
        hub.publish("fablab/v1/nyons/m/mk3/stop", b"stop")
        until(lambda: stops and stops[-1].payload == b"stop", seconds=5)
        assert len(orders) == 20
        assert not behind
        assert not flowing.is_set()
    finally:
        for made in wired.clients:
            made.close()
        running.kill()
