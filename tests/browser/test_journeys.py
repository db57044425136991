"""Journeys of people through the demo lab, in a real browser: live pages, taps, phones, no mouse, no JavaScript."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Demo
from tests.browser.journeys import Person

GCODE = Path(__file__).parent.parent / "fixtures" / "gcode" / "cube-pla-mk3.gcode"
PAGES = ("/", "/jobs", "/jobs/new", "/jobs/queue", "/machines", "/machines/mk3", "/machines/laser", "/machines/bambu",
         "/bookings", "/people", "/people/new", "/stock", "/desk", "/account", "/accessibility")  # fmt: skip


def test_a_print_from_the_file_to_the_receipt(demo: Demo, sign_in: Callable[..., Person]) -> None:
    member, manager = sign_in("member"), sign_in("manager")
    job = member.upload(GCODE, machine="mk3")
    expect(member.page.locator("main")).to_contain_text("€")
    member.confirm()
    member.badge("assigned")
    manager.go("mk3")
    member.badge("running")
    seen = member.watch_progress()
    assert len(seen) >= 3 and seen == sorted(seen)
    api = {"Authorization": f"Bearer {demo.people['member']['token']}"}
    manager.act("mk3", "pause")
    wait_until(lambda: httpx.get(f"{demo.url}/api/v1/machines/mk3", headers=api).json()["state"] == "paused")
    heard = time.monotonic()
    member.badge("paused", 10)
    assert time.monotonic() - heard < 1.0
    manager.act("mk3", "resume")
    manager.judge("mk3", "good", "B3")
    member.badge("done")
    shown = httpx.get(f"{demo.url}/api/v1/jobs/{job}", headers=api).json()
    assert 0 < shown["price"]["charged_cents"] <= shown["price"]["ceiling_cents"]
    expect(member.page.locator("#live")).to_contain_text("B3")
    member.page.locator("a[href^='/account/receipts/']").click()
    expect(member.page.locator("main")).to_contain_text("commandé")


def test_the_manual_machine_by_taps(demo: Demo, sign_in: Callable[..., Person]) -> None:
    member, manager = sign_in("member"), sign_in("manager")
    member.upload(GCODE, machine="bambu")
    member.confirm()
    member.badge("assigned")
    manager.go("bambu")
    form = manager.page.locator("form[action$='/finish']")
    expect(form).to_be_visible(timeout=30_000)
    form.locator("[name=minutes]").fill("12")
    form.locator("[name=grams]").fill("3,5")
    form.locator("button").click()
    manager.judge("bambu", "good", "C1")
    member.badge("done")
    expect(member.page.locator("#live")).to_contain_text("déclaré")


def test_cancel_while_it_heats_up(sign_in: Callable[..., Person]) -> None:
    member, manager = sign_in("member"), sign_in("manager")
    member.upload(GCODE, machine="mk3")
    member.confirm()
    member.badge("assigned")
    manager.go("mk3")
    member.badge("running")
    member.page.click("form[action$='/cancel'] button")
    manager.judge("mk3", "failed")
    expect(member.page.locator("#live .badge.is-cancelled, #live .badge.is-failed")).to_be_visible(timeout=30_000)


def test_a_part_that_failed_is_made_again_at_no_new_price(sign_in: Callable[..., Person]) -> None:
    member, manager = sign_in("member"), sign_in("manager")
    member.upload(GCODE, machine="bambu")
    member.confirm()
    manager.go("bambu")
    form = manager.page.locator("form[action$='/finish']")
    expect(form).to_be_visible(timeout=30_000)
    form.locator("[name=minutes]").fill("5")
    form.locator("button").click()
    expect(manager.page.locator("form[action$='/judge']")).to_be_visible(timeout=30_000)
    manager.page.check("[name=again]")
    manager.judge("bambu", "failed")
    member.badge("assigned")
    member.page.click("form[action$='/cancel'] button")
    member.badge("cancelled")


@pytest.mark.parametrize("locale", ["fr-FR", "en-GB"])
@pytest.mark.parametrize("width", [320, 768, 1440])
def test_no_page_is_wider_than_the_screen(sign_in: Callable[..., Person], locale: str, width: int) -> None:
    person = sign_in("administrator", locale=locale, width=width)
    too_wide = []
    for path in PAGES:
        page = person.open(path)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            too_wide.append(path)
    assert not too_wide


def test_signing_in_with_the_keyboard_alone(demo: Demo, chromium: Browser) -> None:
    person = Person(chromium, demo.url)
    page = person.open("/login")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("[name=login]").focus()
    page.keyboard.type(demo.people["member"]["login"])
    page.keyboard.press("Tab")
    page.keyboard.type(demo.people["member"]["password"])
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Bonjour")
    page.context.close()


def test_the_essential_acts_need_no_javascript(demo: Demo, chromium: Browser) -> None:
    context = chromium.new_context(java_script_enabled=False, locale="fr-FR")
    page = context.new_page()
    page.goto(f"{demo.url}/login")
    page.fill("[name=login]", demo.people["member"]["login"])
    page.fill("[name=password]", demo.people["member"]["password"])
    page.click("main form button")
    page.goto(f"{demo.url}/jobs/new")
    page.set_input_files("[name=file]", GCODE)
    page.click("main form button.primary")
    deadline = time.monotonic() + 30
    while not page.locator("form[action$='/confirm']").count() and time.monotonic() < deadline:
        page.reload()
    page.click("form[action$='/confirm'] button")
    expect(page.locator("[role=status]").first).to_be_visible()
    page.click("form[action$='/cancel'] button")
    expect(page.locator(".badge.is-cancelled")).to_be_visible()
    context.close()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
