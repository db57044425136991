"""Live pictures and hints: only sealed ones count, readers are woken at once, and nobody is shown stale green."""

import threading
import time
from datetime import timedelta

from fablab import topics
from fablab.clock import ManualClock
from fablab.messages import Changed, StateSnapshot, Telemetry, Temperature, seal
from fablab.web.live import RING, Live
from fablab.web.overlay import FRESH
from tests.builders_hub import EPOCH, KEY, NOW
from tests.web.conftest import Lab

STATE, TELEMETRY = topics.state("nyons", "mk3"), topics.telemetry("nyons", "mk3")


def snapshot(**more: object) -> StateSnapshot:
    given = {"machine": "mk3", "journal_id": "j", "boot_no": 1, "rev": 1, "at": "", "state": "idle", **more}
    return StateSnapshot(**given)  # type: ignore[arg-type]


def fresh_live() -> Live:
    return Live(ManualClock(NOW), lambda machine: KEY if machine == "mk3" else None)


def test_a_sealed_picture_is_shown_and_a_forged_one_is_counted() -> None:
    live = fresh_live()
    live.feed(STATE, seal(STATE, EPOCH, b"another key of 32 bytes, at least", snapshot(state="running")))
    live.feed(STATE, b"not even an envelope")
    live.feed(topics.state("nyons", "xl"), seal(topics.state("nyons", "xl"), EPOCH, KEY, snapshot(machine="xl")))
    live.feed(STATE, seal(TELEMETRY, EPOCH, KEY, snapshot()))
    assert live.picture("mk3") is None and live.ignored == 4
    live.feed(STATE, seal(STATE, EPOCH, KEY, snapshot(state="running")))
    picture = live.picture("mk3")
    assert picture is not None and picture.snapshot.state == "running"


def test_an_older_picture_of_the_same_journal_is_left_alone() -> None:
    live = fresh_live()
    live.feed(STATE, seal(STATE, EPOCH, KEY, snapshot(rev=5, state="running")))
    live.feed(STATE, seal(STATE, EPOCH, KEY, snapshot(rev=4, state="idle")))
    picture = live.picture("mk3")
    assert picture is not None and picture.snapshot.state == "running"


def test_telemetry_is_laid_over_the_picture() -> None:
    live = fresh_live()
    live.feed(STATE, seal(STATE, EPOCH, KEY, snapshot(state="running", progress=0.1)))
    hot = Telemetry(machine="mk3", at="", progress=0.2, temperatures={"bed": Temperature(60.0, 60.0)})
    live.feed(TELEMETRY, seal(TELEMETRY, EPOCH, KEY, hot))
    picture = live.picture("mk3")
    assert picture is not None and picture.telemetry is not None and picture.telemetry.progress == 0.2


def test_a_reader_is_woken_at_once_and_only_for_what_she_follows() -> None:
    live, heard = fresh_live(), []
    ready = threading.Event()

    def read() -> None:
        ready.set()
        for name in live.follow(frozenset({"job-1"}), 5.0, lambda: True):
            heard.append((name, time.monotonic()))
            return

    reader = threading.Thread(target=read)
    reader.start()
    ready.wait(5)
    deadline = time.monotonic() + 5
    while live.open_pages == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    sent = time.monotonic()
    from msgspec import json

    live.feed(topics.changed(), json.encode(Changed(jobs=("2",))))
    live.feed(topics.changed(), json.encode(Changed(jobs=("1",))))
    reader.join(5)
    assert [name for name, _ in heard] == ["job-1"]
    assert heard[0][1] - sent < 0.5
    assert live.open_pages == 0


def test_who_fell_behind_the_ring_is_told_to_look_at_everything() -> None:
    live = fresh_live()
    stream = live.follow(frozenset({"job-1"}), 0.01, lambda: False)
    assert next(stream) is None
    for _ in range(RING + 5):
        live.told(machines=("xl",))
    assert next(stream) == "everything"
    stream.close()


def test_too_many_open_pages_are_told_to_poll(lab: Lab) -> None:
    browser = lab.client("ana")
    streams = [lab.live.follow(frozenset(), 1.0, lambda: False) for _ in range(4)]
    for stream in streams:
        lab.live.told(machines=("mk3",))
        threading.Thread(target=next, args=(stream,), daemon=True).start()
    deadline = time.monotonic() + 5
    while lab.live.open_pages < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert browser.get("/live/events?topics=machine-mk3").status_code == 204
    lab.live.close()


def test_a_stream_begins_with_everything(lab: Lab) -> None:
    answer = lab.client("ana").get("/live/events?topics=machine-mk3", buffered=False)
    assert answer.mimetype == "text/event-stream"
    assert next(answer.response) in {b"data: everything\n\n", "data: everything\n\n"}
    answer.close()


def test_a_machine_that_fell_silent_is_not_shown_green(lab: Lab) -> None:
    lab.world.agent.say_hello()
    lab.world.round()
    topic = STATE
    lab.live.feed(topic, seal(topic, EPOCH, KEY, snapshot(journal_id=lab.world.agent.journal, rev=900)))
    browser = lab.client("ana")
    assert "Libre" in browser.get("/machines/mk3/card").text
    lab.world.agent.seen = False
    lab.world.clock.advance(FRESH.total_seconds() + timedelta(minutes=5).total_seconds())
    with lab.world.database.write() as session:
        from fablab.queue.tables import Agent

        session.get_one(Agent, "main").online = False
    page = browser.get("/machines/mk3/card").text
    assert "Injoignable" in page and "Libre" not in page


def test_a_part_that_looks_the_same_is_not_sent_again(lab: Lab) -> None:
    browser = lab.client("ana")
    page = browser.get("/machines/mk3").text
    import re

    version = re.search(r'hx-get="/machines/mk3/live\?v=([0-9a-f]+)&amp;part=acts"', page)
    assert version is not None
    assert browser.get(f"/machines/mk3/live?v={version[1]}&part=acts").status_code == 204
    lab.client("max").post("/machines/mk3/outage", {"reason": "belt"})
    assert browser.get(f"/machines/mk3/live?v={version[1]}&part=acts").status_code == 200
