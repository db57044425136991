"""Signing in, sessions, CSRF, headers, and what bad uploads and bad input are answered."""

from sqlalchemy import func, select

from fablab.queue.tables import Job, JobFile
from fablab.web.pages.login.routes import safe_path
from fablab.web.tables import Account
from tests.web.conftest import PASSWORD, Lab, good_file


def test_sign_in_by_login_and_by_e_mail_and_out_again(lab: Lab) -> None:
    for name in ("ana", "ANA", "ana@example.org"):
        browser = lab.client()
        assert browser.post("/login", {"login": name, "password": PASSWORD}).status_code == 303
        assert "Bonjour Ana" in browser.get("/").text
        browser.post("/login/leave")
        assert browser.get("/account").status_code == 303


def test_a_wrong_password_says_nothing_about_the_account(lab: Lab) -> None:
    known = lab.client().post("/login", {"login": "ana", "password": "wrong"})
    unknown = lab.client().post("/login", {"login": "nobody", "password": "wrong"})
    assert known.status_code == unknown.status_code == 401
    assert known.text.replace('value="ana"', "").count("ne vont pas ensemble") == 1
    assert unknown.text.count("ne vont pas ensemble") == 1


def test_guessing_is_slowed_down_and_forgiven_later(lab: Lab) -> None:
    browser = lab.client()
    for _ in range(5):
        assert browser.post("/login", {"login": "ana", "password": "wrong"}).status_code == 401
    assert browser.post("/login", {"login": "ana", "password": PASSWORD}).status_code == 429
    assert lab.client("bob").get("/account").status_code == 200
    lab.world.clock.advance(31)
    assert browser.post("/login", {"login": "ana", "password": PASSWORD}).status_code == 303


def test_a_new_password_ends_other_sessions(lab: Lab) -> None:
    here, there = lab.client("ana"), lab.client("ana")
    assert here.post("/account/password", {"old": "wrong", "new": "quite another one"}).status_code == 400
    assert here.post("/account/password", {"old": PASSWORD, "new": "short"}).status_code == 400
    assert here.post("/account/password", {"old": PASSWORD, "new": "quite another one"}).status_code == 303
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 303


def test_a_closed_account_is_out_at_once(lab: Lab) -> None:
    browser = lab.client("ana")
    with lab.world.database.write() as session:
        session.scalars(select(Account).where(Account.login == "ana")).one().active = False
    assert browser.get("/account").status_code == 303


def test_posts_without_the_forms_token_are_refused(lab: Lab) -> None:
    browser = lab.client("ana")
    job = browser.draft()
    for path in (f"/jobs/{job}/confirm", f"/jobs/{job}/cancel", "/account/keys", "/machines/mk3/emergency-stop"):
        answer = browser.client.post(path)
        assert answer.status_code == 400, path
        assert 'data-code="form_expired"' in answer.text
    assert lab.world.state(job) == "draft"


def test_headers_of_every_answer(lab: Lab) -> None:
    browser = lab.client("ana")
    for path in ("/", "/machines", "/nothing", "/api/v1/jobs", "/healthz", "/static/css/fablab.css"):
        headers = browser.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe-inline" not in policy and "unsafe-eval" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
    cookie = lab.client().post("/login", {"login": "ana", "password": PASSWORD}).headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie


def test_no_page_has_inline_script_or_style(lab: Lab) -> None:
    browser = lab.client("administrator")
    job = browser.draft()
    for path in ("/", "/jobs", "/jobs/new", f"/jobs/{job}", "/machines", "/machines/mk3", "/people", "/people/ana",
                 "/bookings", "/account", "/stock", "/desk", "/jobs/queue", "/accessibility"):  # fmt: skip
        text = browser.get(path).text
        assert " style=" not in text and "<style" not in text and " onclick" not in text, path
        assert text.count("<script") == text.count("<script src=") == 2, path
        assert text.count("<h1") == 1, path
        assert "04 75 00 00 00" in text, path


def test_going_on_after_sign_in_stays_with_us() -> None:
    assert safe_path("/jobs/1?x=2") == "/jobs/1?x=2"
    for wanted in (
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        None,
        "/a\nb",
    ):
        assert safe_path(wanted) == "/"


BAD = {
    "empty.gcode": b"",
    "picture.gcode": b"\x89PNG\r\n\x1a\n" + b"x" * 100,
    "nul.gcode": b"G28\nG1 X1\n" + b"\0" * 100,
    "model.stl": b"solid cube\nfacet normal 0 0 1\n",
    "project.3mf": b"PK\x03\x04" + b"3D/3dmodel.model",
}


def test_bad_files_are_refused_in_words_and_nothing_is_kept(lab: Lab) -> None:
    browser = lab.client("ana")
    for name, content in BAD.items():
        answer = browser.upload(content, name)
        assert answer.status_code == 400, name
        assert 'role="alert"' in answer.text, name
    with lab.world.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0
        assert session.scalar(select(func.count()).select_from(JobFile)) == 0
    assert not [file for file in lab.world.folder.rglob("*") if len(file.name) == 64 or "incoming" in file.parts[:-1]]


def test_a_file_above_the_limit_is_413(lab: Lab) -> None:
    browser = lab.client("ana")
    answer = browser.upload(b"; comment\nG1 X1\n" * 200_000)
    assert answer.status_code in {400, 413}
    assert "trop gros" in answer.text
    with lab.world.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_a_truncated_file_becomes_a_refused_job_with_a_reason(lab: Lab) -> None:
    browser = lab.client("ana")
    answer = browser.upload(good_file()[:20_000])
    assert answer.status_code == 303
    page = browser.get(answer.headers["Location"]).text
    assert "refusée" in page and "incomplet" in page


def test_markup_in_names_is_shown_as_text(lab: Lab) -> None:
    manager = lab.client("max")
    manager.post("/people/new", {"name": "<script>alert(1)</script>", "locale": "fr"})
    assert "<script>alert" not in manager.get("/people").text
    answer = lab.client("ana").upload(good_file(), "<img src=x onerror=alert(1)>.gcode", note="<b>bold</b>")
    assert answer.status_code == 303
    page = manager.get(answer.headers["Location"]).text
    assert "<b>bold" not in page
    assert "<img src=x" not in page


def test_nobody_takes_money_from_himself_or_gains_power_by_a_password(lab: Lab) -> None:
    treasurer, manager = lab.client("treasurer"), lab.client("max")
    answer = treasurer.post("/people/treasurer/top-up", {"amount": "50", "means": "cash"})
    assert answer.status_code == 409 and 'data-code="own_account"' in answer.text
    answer = manager.post("/people/administrator/account", {"reset": "1", "password": "a stolen password"})
    assert answer.status_code == 403
    assert lab.client("administrator").get("/account").status_code == 200


def test_a_second_click_on_a_payment_books_once(lab: Lab) -> None:
    treasurer = lab.client("treasurer")
    for _ in range(2):
        treasurer.post("/people/bob/top-up", {"amount": "12,50", "means": "cash", "once": "the same form"})
    page = treasurer.get("/people/bob").text
    assert page.count("Porte-monnaie rechargé") == 1
    assert "12,50\xa0€" in page


def test_the_language_is_chosen_and_kept(lab: Lab) -> None:
    browser = lab.client("ana")
    assert 'lang="fr"' in browser.get("/").text
    browser.post("/language", {"language": "en", "next": "/jobs"})
    assert 'lang="en"' in browser.get("/").text
    assert "Hello Ana" in browser.get("/").text
    assert 'lang="en"' in lab.client().get("/", headers={"Accept-Language": "en-GB,en;q=0.9"}).text
    assert 'lang="fr"' in lab.client().get("/", headers={"Accept-Language": "de"}).text
