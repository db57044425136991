"""The examples of docs/reference/mqtt.md are real: each opens with the key that the page names, on its topic."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fablab import topics
from fablab.messages import Applied, Command, Online, Report, StateSnapshot, Telemetry, unseal

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/mqtt.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"### `([^`]+)`.*?```json\n(.*?)\n```", PAGE, re.DOTALL)
KIND: dict[str, Any] = {
    "order": Command,
    "stop": Command,
    "state": StateSnapshot,
    "telemetry": Telemetry,
    "reports": Report,
    "online": Online,
    "applied": Applied,
}


def test_every_topic_has_an_example() -> None:
    shown = {topics.parse(topic).what for topic, _ in EXAMPLES if topics.parse(topic)}  # type: ignore[union-attr]
    assert shown == set(KIND)
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize(("topic", "text"), EXAMPLES, ids=[topic for topic, _ in EXAMPLES])
def test_an_example_opens(topic: str, text: str) -> None:
    compact = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")).encode()
    epoch, raw = unseal(topic, bytes(32), compact)
    parsed = topics.parse(topic)
    assert parsed is not None
    assert epoch == "e1"
    assert msgspec.json.decode(raw, type=KIND[parsed.what]) is not None
