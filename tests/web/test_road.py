"""A print on the pages, from the file to the receipt: what each person sees and may do on the way."""

import re
from datetime import timedelta

from sqlalchemy import select

from fablab import topics
from fablab.messages import Start, StateSnapshot, seal
from fablab.queue.tables import Run
from fablab.space.tables import Occupation
from tests.builders_hub import EPOCH, KEY, NOW
from tests.web.conftest import Lab


def run_of(lab: Lab, job_id: str) -> Run:
    with lab.world.database.read() as session:
        return session.scalars(select(Run).where(Run.job_id == job_id, Run.live)).one()


def test_a_file_becomes_a_draft_with_price_and_reasons(lab: Lab) -> None:
    ana = lab.client("ana")
    job = ana.draft()
    page = ana.get(f"/jobs/{job}").text
    assert lab.world.state(job) == "draft"
    assert "Prix maximum" in page
    assert re.search(r"\d+,\d\d\xa0€", page)
    assert "Mk3" in page or "mk3" in page.lower()


def test_the_whole_road(lab: Lab) -> None:
    ana, max_ = lab.client("ana"), lab.client("max")
    job = ana.draft()
    lab.world.agent.say_hello()
    lab.world.round()
    assert ana.post(f"/jobs/{job}/confirm").status_code == 303
    lab.world.agent.prepare()
    lab.world.round()
    run = run_of(lab, job)
    page = max_.get(f"/machines/{run.machine_id}").text
    assert "Prête à lancer" in page
    answer = max_.post(f"/machines/{run.machine_id}/runs/{run.id}/go", {"token": run.token})
    assert answer.status_code == 303
    order = lab.world.agent.last(Start, run.id)
    lab.world.agent.start(order)
    lab.world.round()
    assert "en cours" in ana.get(f"/jobs/{job}").text
    lab.world.agent.end(order, "succeeded", seconds=600, commanded_mm=(1000.0,))
    lab.world.round()
    assert "Comment est la pièce" in max_.get(f"/machines/{run.machine_id}").text
    answer = max_.post(f"/machines/{run.machine_id}/runs/{run.id}/judge", {"verdict": "good", "shelf": "B3"})
    assert answer.status_code == 303
    lab.world.round()
    page = ana.get(f"/jobs/{job}").text
    assert lab.world.state(job) == "done"
    assert "B3" in page
    receipt = re.search(r"/account/receipts/[0-9a-f-]+", page)
    assert receipt is not None
    text = ana.get(receipt[0]).text
    assert "commandé" in text
    assert lab.client("bob").get(receipt[0]).status_code == 404


def test_nobody_looks_at_anothers_job(lab: Lab) -> None:
    job = lab.client("ana").draft()
    bob = lab.client("bob")
    for url in (f"/jobs/{job}", f"/jobs/{job}/live", f"/jobs/{job}/file", f"/jobs/{job}/preview"):
        assert bob.get(url).status_code == 403, url
    assert bob.post(f"/jobs/{job}/cancel").status_code in {403, 409}
    assert lab.world.state(job) == "draft"


def test_two_clicks_confirm_once(lab: Lab) -> None:
    ana = lab.client("ana")
    job = ana.draft()
    assert ana.post(f"/jobs/{job}/confirm").status_code == 303
    assert ana.post(f"/jobs/{job}/confirm").status_code == 409
    assert lab.world.state(job) in {"queued", "assigned"}


def test_an_old_tab_cannot_start_what_was_cancelled(lab: Lab) -> None:
    ana, max_ = lab.client("ana"), lab.client("max")
    job = ana.draft()
    lab.world.agent.say_hello()
    lab.world.round()
    ana.post(f"/jobs/{job}/confirm")
    lab.world.agent.prepare()
    lab.world.round()
    run = run_of(lab, job)
    assert ana.post(f"/jobs/{job}/cancel").status_code == 303
    answer = max_.post(f"/machines/{run.machine_id}/runs/{run.id}/go", {"token": run.token})
    assert answer.status_code == 409
    assert "data-code=" in answer.text


def test_copies_are_several_jobs_confirmed_together(lab: Lab) -> None:
    ana = lab.client("ana")
    job = ana.draft(copies="3")
    assert ana.post(f"/jobs/{job}/confirm").status_code == 303
    ids = lab.world.summary(job)["ids"]
    assert len(ids) == 3
    assert all(lab.world.state(one) in {"queued", "assigned"} for one in ids)


def test_staff_acts_for_a_person_without_account(lab: Lab) -> None:
    max_ = lab.client("max")
    answer = max_.post("/people/new", {"name": "Madame Petit", "member": "1", "rules": "1", "locale": "fr"})
    person = answer.headers["Location"].rsplit("/", 1)[-1]
    max_.post(f"/people/{person}/desk-limit", {"limit": "20"})
    job = max_.draft(**{"for": person})
    summary = lab.world.summary(job)
    assert summary["asker"] == {"id": person, "name": "Madame Petit"}
    assert max_.post(f"/jobs/{job}/confirm").status_code == 303
    assert lab.world.summary(job)["price"]["means"] == "desk"
    assert lab.client("ana").upload(b"G28\nG1 X1\n", **{"for": person}).status_code == 403


def test_a_member_starts_her_own_file_during_her_booking(lab: Lab) -> None:
    with lab.world.database.write() as session:
        session.add(
            Occupation(
                id="kept", site_id="nyons", machine_id="xl", person_id="ana", kind="booking", made_by="ana",
                starts_at=NOW - timedelta(hours=1), ends_at=NOW + timedelta(hours=3), made_at=NOW,
            )
        )  # fmt: skip
    lab.client("max").post("/people/ana/authorise", {"machine": "xl", "level": "alone"})
    ana = lab.client("ana")
    lab.world.agent.say_hello()
    lab.world.round()
    job = ana.draft(booking="kept")
    assert ana.post(f"/jobs/{job}/confirm").status_code == 303
    lab.world.agent.prepare()
    lab.world.round()
    run = run_of(lab, job)
    assert run.machine_id == "xl"
    go = f"/machines/xl/runs/{run.id}/go"
    assert go in ana.get(f"/jobs/{job}").text
    assert go not in lab.client("max").get(f"/jobs/{job}").text
    assert ana.post(go, {"token": run.token}).status_code == 303
    assert lab.world.agent.last(Start, run.id) is not None


def test_acts_are_offered_by_what_the_tables_say(lab: Lab) -> None:
    """The live picture may be a second ahead of the tables: the page moves, but offers no act that would be refused."""
    ana, max_ = lab.client("ana"), lab.client("max")
    lab.world.agent.say_hello()
    lab.world.round()
    job = ana.draft()
    ana.post(f"/jobs/{job}/confirm")
    lab.world.agent.prepare()
    lab.world.round()
    run = run_of(lab, job)
    max_.post(f"/machines/{run.machine_id}/runs/{run.id}/go", {"token": run.token})
    topic = topics.state("nyons", run.machine_id)
    ahead = StateSnapshot(
        machine=run.machine_id, journal_id=lab.world.agent.journal, boot_no=1, rev=999, at="", state="running",
        run=run.id, job=job, progress=0.25,
    )  # fmt: skip
    lab.live.feed(topic, seal(topic, EPOCH, KEY, ahead))
    page = max_.get(f"/machines/{run.machine_id}").text
    assert "25" in page and "/pause" not in page and "/cancel" in page
    lab.world.agent.start(lab.world.agent.last(Start, run.id))
    lab.world.round()
    assert "/pause" in max_.get(f"/machines/{run.machine_id}").text
