"""Each endpoint has exactly one entry in the table, and each role gets exactly what the table says."""

import pytest

from fablab.web.permissions import ENDPOINTS, Rule, Who
from tests.web.conftest import ROLES, Browser, Lab

EVERYBODY = ("ana", *ROLES)
ARGUMENTS = {
    "job_id": "none",
    "machine_id": "mk3",
    "run_id": "none",
    "person_id": "bob",
    "booking_id": "none",
    "entry_id": "none",
    "key_id": "none",
    "lot_id": "none",
    "act": "cancel",
    "decision": "approve",
    "filename": "icon.svg",
}


def routes(lab: Lab) -> list[tuple[str, str, str]]:
    """Endpoint, method and a path of every route."""
    found = []
    with lab.app.test_request_context():
        for rule in lab.app.url_map.iter_rules():
            values = {name: ARGUMENTS[name] for name in rule.arguments}
            if rule.endpoint == "api.machines_act":
                values["act"] = "cleared"
            if rule.endpoint == "jobs.act":
                values["act"] = "hold"
            path = lab.app.url_map.bind("localhost").build(rule.endpoint, values)
            for method in sorted((rule.methods or set()) & {"GET", "POST"}):
                found.append((rule.endpoint, method, path))
    return found


def test_every_endpoint_has_one_entry_and_no_entry_is_left_over(lab: Lab) -> None:
    served = {rule.endpoint for rule in lab.app.url_map.iter_rules()}
    assert served == set(ENDPOINTS)


def test_the_folder_of_a_page_is_the_first_segment_of_its_url(lab: Lab) -> None:
    for rule in lab.app.url_map.iter_rules():
        page = rule.endpoint.split(".")[0]
        if page in {"static", "home", "api", "octoprint", "agents", "public"}:
            continue
        assert rule.rule.split("/")[1] == page, rule


def test_an_endpoint_without_entry_is_closed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ENDPOINTS, "home.index")
    assert lab.client().get("/").status_code == 403


def allowed(rule: Rule, who: str) -> bool:
    return not rule.roles or who == "administrator" or who in rule.roles


def test_each_role_on_each_page(lab: Lab) -> None:
    """Where the table says no, the answer is 403; where it says yes, it is never the outer door that says no."""
    pages = [item for item in routes(lab) if ENDPOINTS[item[0]].who is Who.SIGNED_IN and item[0] != "live.events"]
    wrong = []
    for who in EVERYBODY:
        browser = lab.client(who)
        for endpoint, method, path in pages:
            if endpoint == "login.leave":
                continue
            answer = ask(browser, method, path)
            refused = answer.status_code == 403 and 'data-code="not_allowed"' in answer.text
            if not allowed(ENDPOINTS[endpoint], who) and not refused:
                wrong.append((who, method, path, answer.status_code))
            if answer.status_code >= 500:
                wrong.append((who, method, path, answer.status_code))
    assert not wrong


def ask(browser: Browser, method: str, path: str):  # type: ignore[no-untyped-def]
    return browser.get(path) if method == "GET" else browser.post(path)


def test_nobody_signed_in_is_sent_to_the_sign_in(lab: Lab) -> None:
    browser = lab.client()
    for endpoint, method, path in routes(lab):
        if ENDPOINTS[endpoint].who is not Who.SIGNED_IN:
            continue
        answer = ask(browser, method, path)
        if method == "GET":
            assert answer.status_code == 303, path
            assert answer.headers["Location"].startswith("/login?next=")
        else:
            assert answer.status_code == 401, path


def test_a_cookie_never_counts_at_the_api(lab: Lab) -> None:
    browser = lab.client("administrator")
    for endpoint, method, path in routes(lab):
        if ENDPOINTS[endpoint].who in {Who.TOKEN, Who.SUBMIT_TOKEN}:
            answer = browser.client.open(path, method=method)
            assert answer.status_code == 401, path
            assert answer.json["code"] == "not_signed_in"


def test_a_submit_key_may_hand_in_files_and_nothing_else(lab: Lab) -> None:
    headers = lab.token("ana", "submit", 0)
    browser = lab.client()
    for endpoint, method, path in routes(lab):
        rule = ENDPOINTS[endpoint]
        if rule.who is Who.TOKEN:
            answer = browser.client.open(path, method=method, headers=headers)
            assert (answer.status_code, answer.json["code"]) == (403, "scope_too_small"), path
