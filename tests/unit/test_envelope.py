"""Envelope and topics: what was sealed opens, anything else is `Forged`; topics are built and parsed alike."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fablab import topics
from fablab.messages import MAX_MESSAGE_BYTES, NATURE, Command, Forged, OrderBody, Start, seal, unseal

KEY = b"k" * 32
ORDER = Command(id="c1", machine="mk3", run="r1", claim_no=4, stop_no=2, term=1, body=Start(token="t"))
TOPIC = topics.order("nyons", "mk3")


def test_a_sealed_order_opens_whole() -> None:
    epoch, raw = unseal(TOPIC, KEY, seal(TOPIC, "e1", KEY, ORDER))
    assert epoch == "e1"
    assert msgspec.json.decode(raw, type=Command) == ORDER


@pytest.mark.parametrize(
    ("topic", "key", "change"),
    [
        (topics.order("nyons", "mk4"), KEY, (b"", b"")),
        (TOPIC, b"x" * 32, (b"", b"")),
        (TOPIC, KEY, (b'"claim_no":4', b'"claim_no":5')),
        (TOPIC, KEY, (b'"e1"', b'"e2"')),
    ],
)
def test_another_topic_key_body_or_epoch_is_forged(topic: str, key: bytes, change: tuple[bytes, bytes]) -> None:
    payload = seal(TOPIC, "e1", KEY, ORDER).replace(*change)
    with pytest.raises(Forged):
        unseal(topic, key, payload)


@given(st.binary(max_size=300))
def test_garbage_is_forged(payload: bytes) -> None:
    with pytest.raises(Forged):
        unseal(TOPIC, KEY, payload)


def test_oversized_is_forged_before_it_is_parsed() -> None:
    with pytest.raises(Forged, match="oversized"):
        unseal(TOPIC, KEY, b"[" * (MAX_MESSAGE_BYTES + 1))


def test_unknown_fields_of_a_newer_side_are_ignored() -> None:
    raw = msgspec.json.encode(ORDER).replace(b'"token":"t"', b'"token":"t","colour":"blue"')
    assert msgspec.json.decode(raw, type=Command) == ORDER


def test_every_order_has_a_nature() -> None:
    assert set(NATURE) == set(OrderBody.__args__)


@pytest.mark.parametrize("name", ["mk3", "a", "x" * 63, "salle-2.1"])
def test_topics_are_parsed_as_they_are_built(name: str) -> None:
    for build, what in [(topics.order, "order"), (topics.stop, "stop"), (topics.state, "state")]:
        parsed = topics.parse(build("nyons", name))
        assert parsed is not None
        assert (parsed.site, parsed.machine, parsed.what) == ("nyons", name, what)
    parsed = topics.parse(topics.agent_reports("nyons", name))
    assert parsed is not None
    assert (parsed.agent, parsed.what) == (name, "reports")


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "é", "-x", "x" * 64, "a\0"])
def test_what_is_no_level_of_a_topic_is_refused(name: str) -> None:
    with pytest.raises(topics.BadName):
        topics.order("nyons", name)
    assert topics.parse(f"fablab/v1/nyons/m/{name}/order") is None
