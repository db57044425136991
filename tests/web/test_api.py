"""The public API: its shapes and codes, the slicer's upload, agents' files, monitors."""

from io import BytesIO
from typing import Any

from fablab.messages import Start
from fablab.web.api.openapi import document
from tests.web.conftest import Lab, good_file
from tests.web.test_road import run_of


def create(lab: Lab, headers: dict[str, str], content: bytes | None = None, **choices: Any) -> Any:
    data = {"file": (BytesIO(content or good_file()), "cube.gcode"), **choices}
    return lab.app.test_client().post("/api/v1/jobs", data=data, headers=headers, content_type="multipart/form-data")


def test_the_document_describes_exactly_the_routes(lab: Lab) -> None:
    described = {
        (method.upper(), "/api/v1" + path)
        for path, methods in document("http://x")["paths"].items()
        for method in methods
    }
    served = set()
    for rule in lab.app.url_map.iter_rules():
        if not rule.endpoint.startswith("api."):
            continue
        path = rule.rule.replace("<job_id>", "{id}").replace("<run_id>", "{id}").replace("<machine_id>", "{id}")
        acts = [path]
        if "<any(" in path:
            start, rest = path.split("<any(", 1)
            acts = [start + word.strip().strip("'") for word in rest.split(")")[0].split(",")]
        served |= {(method, act) for act in acts for method in (rule.methods or set()) & {"GET", "POST"}}
    assert described == served


def test_a_job_from_upload_to_receipt(lab: Lab) -> None:
    ana, manager, client = lab.token("ana"), lab.token("max"), lab.app.test_client()
    lab.world.agent.say_hello()
    lab.world.round()
    answer = create(lab, ana, note="please")
    assert answer.status_code == 201
    job = answer.json
    assert set(job) >= {"id", "batch", "ids", "state", "reasons", "estimate", "plan", "price", "runs"}
    assert set(job["price"]) >= {"currency", "quote_cents", "ceiling_cents", "held_cents", "charged_cents", "lines"}
    lab.world.round()
    lab.world.agent.prepare()
    lab.world.round()
    run = run_of(lab, job["id"])
    assert client.post(f"/api/v1/runs/{run.id}/go", headers=ana).status_code in {403, 409}
    assert client.post(f"/api/v1/runs/{run.id}/go", headers=manager).status_code == 200
    order = lab.world.agent.last(Start, run.id)
    lab.world.agent.start(order)
    lab.world.round()
    shown = client.get(f"/api/v1/jobs/{job['id']}", headers=ana).json
    assert shown["state"] == "running"
    assert set(shown["runs"][0]) >= {"id", "machine", "state", "progress", "result", "commanded_mm", "seconds"}
    lab.world.agent.end(order, "succeeded", seconds=300, commanded_mm=(250.0,))
    lab.world.round()
    answer = client.post(f"/api/v1/runs/{run.id}/judge", json={"verdict": "good", "shelf": "A1"}, headers=manager)
    assert answer.status_code == 200
    lab.world.round()
    shown = client.get(f"/api/v1/jobs/{job['id']}", headers=ana).json
    assert shown["state"] == "done"
    assert 0 < shown["price"]["charged_cents"] <= shown["price"]["ceiling_cents"]


def test_a_price_above_what_was_allowed_stays_a_draft(lab: Lab) -> None:
    ana = lab.token("ana")
    job = create(lab, ana, max_price_cents="1").json
    assert job["state"] == "draft"
    answer = lab.app.test_client().post(f"/api/v1/jobs/{job['id']}/submit", headers=ana)
    assert answer.json["state"] in {"queued", "assigned"}


def test_submit_false_is_a_draft(lab: Lab) -> None:
    assert create(lab, lab.token("ana"), submit="false").json["state"] == "draft"


def test_errors_have_code_text_and_data_in_the_readers_language(lab: Lab) -> None:
    ana, client = lab.token("ana"), lab.app.test_client()
    for path, status in (("/api/v1/jobs/none", 404), ("/api/v1/machines/none", 404), ("/api/v1/nothing", 404)):
        french = client.get(path, headers={**ana, "Accept-Language": "fr"})
        english = client.get(path, headers={**ana, "Accept-Language": "en"})
        assert french.status_code == english.status_code == status
        assert set(french.json) == {"code", "text", "data"}
        assert french.json["code"] == english.json["code"]
    answer = create(lab, ana, b"\0\0")
    assert answer.status_code == 409 or answer.status_code == 400
    assert answer.json["code"] in {"gcode_nul_bytes", "not_gcode"}
    assert create(lab, ana, copies="900").json["code"] == "field_range"
    assert create(lab, {"Authorization": "Bearer wrong"}).json["code"] == "bad_token"


def test_lists(lab: Lab) -> None:
    ana, client = lab.token("ana"), lab.app.test_client()
    for _ in range(3):
        create(lab, ana, submit="false")
    first = client.get("/api/v1/jobs?limit=2", headers=ana).json
    assert len(first["items"]) == 2 and first["next"]
    second = client.get(f"/api/v1/jobs?limit=2&after={first['next']}", headers=ana).json
    assert len(second["items"]) == 1 and second["next"] is None
    assert client.get("/api/v1/jobs", headers=lab.token("bob")).json["items"] == []
    machines = client.get("/api/v1/machines", headers=ana).json
    assert {item["id"] for item in machines["items"]} == {"mk3", "xl"}
    assert set(machines["items"][0]) >= {"state", "plate", "outage", "temperatures", "run"}


def test_outage_stop_and_plate(lab: Lab) -> None:
    manager, client = lab.token("max"), lab.app.test_client()
    down = client.post("/api/v1/machines/mk3/outage", json={"reason": "belt"}, headers=manager)
    assert down.json["outage"]["reason"] == "belt"
    assert client.post("/api/v1/machines/mk3/outage", json={"over": True}, headers=manager).json["outage"] is None
    assert client.post("/api/v1/machines/mk3/emergency-stop", headers=lab.token("ana")).json["latched"] is True
    assert client.post("/api/v1/machines/mk3/release", headers=manager).status_code == 200
    assert client.post("/api/v1/machines/mk3/cleared", headers=manager).json["code"] == "plate_already_free"


def slicer(lab: Lab, headers: dict[str, str], **fields: str) -> Any:
    data = {"file": (BytesIO(good_file()), "cube.gcode"), "print": "true", "select": "true", **fields}
    return lab.app.test_client().post("/api/files/local", data=data, headers=headers)


def test_a_slicer_sends_a_file_and_no_machine_starts(lab: Lab) -> None:
    lab.token("ana", "submit", 0)
    key = {"X-Api-Key": "ana-submit-0-t"}
    version = lab.app.test_client().get("/api/version", headers=key).json
    assert version["api"] and version["text"].startswith("OctoPrint")
    answer = slicer(lab, key)
    assert answer.status_code == 201
    assert answer.json["done"] is True and answer.json["effectivePrint"] is False
    assert answer.json["files"]["local"]["name"] == "cube.gcode"
    assert answer.headers["Location"].endswith(answer.json["job"])
    assert lab.world.state(answer.json["job"]) == "draft"


def test_a_slicers_key_with_a_limit_confirms_within_it(lab: Lab) -> None:
    lab.token("ana", "submit", 500)
    lab.token("bob", "submit", 1)
    within = slicer(lab, {"X-Api-Key": "ana-submit-500-t"}).json["job"]
    above = slicer(lab, {"X-Api-Key": "bob-submit-1-t"}).json["job"]
    assert lab.world.state(within) in {"queued", "assigned"}
    assert lab.world.state(above) == "draft"


def test_an_agent_fetches_the_file_of_its_run_only(lab: Lab) -> None:
    ana, client = lab.client("ana"), lab.app.test_client()
    lab.world.agent.say_hello()
    lab.world.round()
    job = ana.draft()
    ana.post(f"/jobs/{job}/confirm")
    order = lab.world.agent.prepare()
    headers = {"Authorization": f"Bearer {order.body.file_token}"}
    whole = client.get(order.body.file_path, headers=headers)
    assert whole.data == good_file()
    assert "attachment" in whole.headers["Content-Disposition"]
    part = client.get(order.body.file_path, headers={**headers, "Range": "bytes=100-"})
    assert part.status_code == 206 and part.data == good_file()[100:]
    assert client.get(order.body.file_path, headers={"Authorization": "Bearer no"}).status_code == 401
    assert client.get("/api/agent/files/other", headers=headers).status_code == 401
    assert client.get(order.body.file_path).status_code == 401


def test_monitors(lab: Lab) -> None:
    client = lab.app.test_client()
    assert client.get("/healthz").json["ok"] is True
    assert "fablab_jobs" in client.get("/metrics").text
    away = {"X-Forwarded-For": "203.0.113.9"}
    assert client.get("/metrics", headers=away).status_code == 403
    space = client.get("/spaceapi.json").json
    assert space["api_compatibility"] == ["15"] and space["space"] == "Le Lab" and "state" not in space
    calendar = client.get("/calendar.ics")
    assert calendar.text.startswith("BEGIN:VCALENDAR\r\n") and calendar.mimetype == "text/calendar"


def test_who_looks_at_the_price_may_say_yes_above_the_keys_limit(lab: Lab) -> None:
    lab.token("bob", "submit", 1)
    job = slicer(lab, {"X-Api-Key": "bob-submit-1-t"}).json["job"]
    assert lab.client("bob").post(f"/jobs/{job}/confirm").status_code == 303
    assert lab.world.state(job) in {"queued", "assigned"}
