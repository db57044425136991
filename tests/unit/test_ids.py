"""Identifiers: version 7, sorted by time, never twice."""

import uuid

from fablab.ids import new_id


def test_version_and_variant() -> None:
    value = uuid.UUID(new_id())
    assert (value.version, value.variant) == (7, uuid.RFC_4122)


def test_ten_thousand_differ() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000
