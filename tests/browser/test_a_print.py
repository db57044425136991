"""Journey 1 in a real browser, on a whole demo lab: sign in, upload, price, yes, go, live page, judge, receipt.

With FABLAB_PICTURES=DIR it leaves the pictures that the README shows.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.system.lab import FIXTURES, Lab, start_lab

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PICTURES = os.environ.get("FABLAB_PICTURES")
WIDTHS = (360, 768, 1440)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    running = start_lab(tmp_path_factory.mktemp("lab") / "demo")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


def sign_in(browser: Browser, lab: Lab, role: str, width: int = 1440, language: str = "fr") -> tuple[Page, list[str]]:
    """A page of somebody who is signed in, and what the browser complains about."""
    page = browser.new_context(viewport={"width": width, "height": 900}, locale=language).new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(lab.url + "/login")
    if page.locator("html").get_attribute("lang") != language:
        page.click(f"button[name=language][value={language}]")
    page.fill("#f-login", lab.people[role]["login"])
    page.fill("#f-password", lab.people[role]["password"])
    page.click(".primary.big")
    page.wait_for_url(lab.url + "/")
    return page, complaints


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)


def fits(page: Page) -> bool:
    """Nothing sticks out to the right."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_from_the_file_to_the_receipt(lab: Lab, browser: Browser) -> None:
    member, complaints = sign_in(browser, lab, "member")
    member.goto(lab.url + "/jobs/new")
    member.locator("details:has(select[name=machine]) > summary").first.click()
    member.select_option("select[name=machine]", "mk3")
    member.set_input_files("input[type=file]", str(FIXTURES / "cube-pla-mk3.gcode"))
    picture(member, "upload-1440")
    member.click(".primary.big")
    member.get_by_text("Prix maximum", exact=True).wait_for()
    address = member.url
    job_id = address.rsplit("/", 1)[1]
    picture(member, "price-1440")
    announced = member.locator("main").inner_text()
    assert "MK3" in announced
    member.locator("button.primary.big").click()
    member.get_by_text("C'est confirmé").wait_for()
    run = lab.ready_run("member", job_id)

    staff, staff_complaints = sign_in(browser, lab, "volunteer")
    staff.goto(lab.url + "/machines/mk3")
    staff.locator(".good.big").click()
    member.get_by_text("en cours").first.wait_for(timeout=15_000)  # without a reload
    lab.until(lambda: lab.simulator("mk3", "stats")["extruded_mm"] > 5, "nothing was extruded")
    picture(member, "job-1440")
    staff.goto(lab.url + "/machines")
    staff.wait_for_timeout(1200)
    picture(staff, "wall-1440")
    small, _ = sign_in(browser, lab, "volunteer", 360)
    small.goto(lab.url + "/machines")
    picture(small, "wall-360")
    little, _ = sign_in(browser, lab, "member", 360)
    little.goto(address)
    picture(little, "job-360")

    lab.until_state("member", job_id, "to_judge", seconds=120)
    assert run["machine"] == "mk3"
    judged = lab.call(
        "volunteer", "POST", f"/api/v1/runs/{run['id']}/judge", json={"verdict": "good", "shelf": "A3", "again": False}
    )
    assert judged.status_code == 200, judged.text
    lab.until(lambda: lab.job("member", job_id)["price"]["charged_cents"] is not None, "it was never charged")
    member.reload()
    receipt = member.locator("main").inner_text()
    assert re.search(r"A3", receipt)
    assert re.search(r"\d+,\d\d\s€", receipt)
    picture(member, "receipt-1440")
    assert not complaints + staff_complaints


def test_the_screen_follows_the_machine_within_a_second(lab: Lab, browser: Browser) -> None:
    page, _ = sign_in(browser, lab, "volunteer")
    page.goto(lab.url + "/machines/mini")
    page.locator("main").wait_for()
    page.wait_for_timeout(1500)
    lab.simulator("mini", "unplug")
    began = time.monotonic()
    page.get_by_text(re.compile("hors ligne|injoignable|débranchée|ne répond", re.I)).first.wait_for(timeout=15_000)
    seen = time.monotonic() - began
    lab.simulator("mini", "replug")
    assert seen < 5, f"it took {seen:.1f} s"


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_sticks_out(lab: Lab, browser: Browser, width: int, language: str) -> None:
    page, complaints = sign_in(browser, lab, "administrator", width, language)
    for path in (
        "/",
        "/jobs/new",
        "/jobs",
        "/machines",
        "/machines/mk3",
        "/machines/bambu",
        "/people",
        "/bookings",
        "/account",
    ):
        answer = page.goto(lab.url + path)
        assert answer is not None and answer.status == 200, path
        assert fits(page), f"{path} at {width}"
    assert not complaints
