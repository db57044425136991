"""The wire without a broker is as unkind as it is told to be, and the same each time."""

from fablab.bus import Message, address
from fablab.bus_local import LocalBus, LocalNet
from fablab.refusals import Refusal


def pair(net: LocalNet) -> tuple[LocalBus, list[bytes], LocalBus]:
    got: list[bytes] = []
    receiver, sender = LocalBus(net), LocalBus(net)
    receiver.subscribe("a/#", lambda message: got.append(message.payload))
    receiver.start()
    sender.start()
    return receiver, got, sender


def played(seed: int) -> list[bytes]:
    net = LocalNet(seed, drop=0.2, repeat=0.2, reorder=0.5)
    _, got, sender = pair(net)
    for number in range(50):
        sender.publish("a/b", b"%d" % number)
    net.pump()
    return got


def test_it_drops_repeats_and_reorders_alike_for_one_seed() -> None:
    got = played(3)
    assert got == played(3)
    assert got != played(4)
    assert len(set(got)) < 50, "some were lost"
    assert len(got) > len(set(got)), "some came twice"
    assert got != sorted(got, key=int), "some were overtaken"


def test_a_kind_wire_delivers_all_in_order() -> None:
    net = LocalNet()
    _, got, sender = pair(net)
    for number in range(5):
        sender.publish("a/b", b"%d" % number)
    sender.publish("other", b"x")
    assert net.pump() == 5
    assert got == [b"0", b"1", b"2", b"3", b"4"]


def test_what_is_published_without_a_link_is_gone_and_retained_words_stay() -> None:
    net = LocalNet()
    receiver, got, sender = pair(net)
    sender.publish("a/kept", b"kept", retain=True)
    net.pump()
    sender.cut()
    assert sender.publish("a/b", b"lost") is False
    receiver.cut()
    receiver.mend()
    net.pump()
    assert got == [b"kept", b"kept"]
    net.forget_retained()
    receiver.cut()
    receiver.mend()
    net.pump()
    assert len(got) == 2


def test_the_will_speaks_when_a_link_is_cut_and_not_when_it_is_closed() -> None:
    net = LocalNet()
    _, got, _ = pair(net)
    for orderly in (True, False):
        mortal = LocalBus(net, will=lambda: Message("a/will", b"gone"))
        mortal.start()
        mortal.close() if orderly else mortal.cut()
        net.pump()
    assert got == [b"gone"]


def test_addresses() -> None:
    own = address("embedded", host="127.0.0.1", port=1883, password="p")
    assert (own.host, own.port, own.user, own.tls) == ("127.0.0.1", 1883, "fablab", False)
    far = address("mqtts://hub@broker.example", host="", port=0, password="p", ca_file="ca.pem")
    assert (far.host, far.port, far.user, far.tls, far.ca_file) == ("broker.example", 8883, "hub", True, "ca.pem")
    assert address("mqtt://hub@b:2000", host="", port=0, user="agent-1").user == "agent-1"
    for wrong in ("http://b", "mqtt://", "b:1883", "mqtt://b:port"):
        try:
            address(wrong, host="", port=0)
        except Refusal as refusal:
            assert refusal.code == "broker_url"
        else:
            raise AssertionError(wrong)
