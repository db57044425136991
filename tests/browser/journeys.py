"""What a person does in the browser, as functions: they work against any Fablab at a base URL. No assertion on texts
but where the text is what the person needs to see."""

import re
import time
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
EXECUTABLE = "/usr/bin/chromium"


class Person:
    """Somebody with a browser of her own. Whatever the browser's console complains about is kept in `complaints`."""

    def __init__(self, browser: Browser, url: str, *, locale: str = "fr-FR", width: int = 1280) -> None:
        self.url = url.rstrip("/")
        context = browser.new_context(locale=locale, viewport={"width": width, "height": 900})
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def sign_in(self, login: str, password: str) -> None:
        """By the form, to the first page."""
        self.open("/login")
        self.page.fill("[name=login]", login)
        self.page.fill("[name=password]", password)
        self.page.click("main form button")
        expect(self.page.locator("h1")).to_contain_text(re.compile("Bonjour|Hello"))

    def upload(self, file: Path, **choices: str) -> str:
        """Send a file and wait for its price; returns the id of the job."""
        self.open("/jobs/new")
        self.page.set_input_files("[name=file]", file)
        if choices:
            self.page.locator("details summary").click()
        for name, value in choices.items():
            self.choose(name, value)
        self.page.click("main form button.primary")
        self.page.wait_for_url("**/jobs/*")
        expect(self.page.locator(".badge.is-draft, .badge.is-refused").first).to_be_visible(timeout=30_000)
        return self.job()

    def choose(self, name: str, value: str) -> None:
        field = self.page.locator(f"[name={name}]")
        if field.evaluate("element => element.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)

    def job(self) -> str:
        """The id of the job whose page is open."""
        return re.sub(r"[?#].*", "", self.page.url).rsplit("/", 1)[-1]

    def confirm(self) -> None:
        """Yes to the price."""
        self.page.click("form[action$='/confirm'] button")
        expect(self.page.locator("[role=status]").first).to_be_visible()

    def machine(self, seconds: float = 60) -> str:
        """On a job's page: the machine that it went to, once it went to one."""
        link = self.page.locator("#live a[href^='/machines/']").first
        expect(link).to_be_visible(timeout=seconds * 1000)
        return str(link.get_attribute("href")).rsplit("/", 1)[-1]

    def badge(self, state: str, seconds: float = 60) -> Locator:
        """Wait, without a reload, until the page shows the state of a job."""
        found = self.page.locator(f"#live .badge.is-{state}")
        expect(found).to_be_visible(timeout=seconds * 1000)
        return found

    def go(self, machine: str, seconds: float = 60) -> None:
        """At the machine: wait until it is ready, then start it."""
        self.open(f"/machines/{machine}")
        button = self.page.locator("form[action$='/go'] button, form[action$='/begin'] button")
        expect(button).to_be_visible(timeout=seconds * 1000)
        button.click()

    def act(self, machine: str, act: str, seconds: float = 30) -> None:
        """Press pause, resume or cancel on the machine's page."""
        if not self.page.url.endswith(f"/machines/{machine}"):
            self.open(f"/machines/{machine}")
        button = self.page.locator(f"form[action$='/{act}'] button")
        expect(button).to_be_visible(timeout=seconds * 1000)
        button.click()

    def judge(self, machine: str, verdict: str = "good", shelf: str = "", seconds: float = 120) -> None:
        """Say how the part is, and where it lies."""
        if not self.page.url.endswith(f"/machines/{machine}"):
            self.open(f"/machines/{machine}")
        expect(self.page.locator("form[action$='/judge']")).to_be_visible(timeout=seconds * 1000)
        self.page.check(f"[name=verdict][value={verdict}]")
        if shelf:
            self.page.fill("[name=shelf]", shelf)
        with self.page.expect_navigation():
            self.page.click("form[action$='/judge'] button")
        expect(self.page.locator("form[action$='/judge']")).to_have_count(0)

    def progress(self) -> float:
        """What the progress bar of the page says, in per cent; -1 where there is none."""
        bar = self.page.locator("#live progress[value]")
        return float(bar.get_attribute("value") or -1) if bar.count() else -1.0

    def watch_progress(self, seconds: float = 60) -> list[float]:
        """Look at the bar, without a reload, until it has moved three times; what was seen."""
        seen: list[float] = []
        deadline = time.monotonic() + seconds
        while len(seen) < 4 and time.monotonic() < deadline:
            shown = self.progress()
            if shown >= 0 and (not seen or shown != seen[-1]):
                seen.append(shown)
            self.page.wait_for_timeout(50)
        return seen
