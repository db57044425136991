"""The demo lab as a process of its own, and one Chromium for the whole run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.journeys import ARGUMENTS, EXECUTABLE, Person

SPEED = 20
READY_SECONDS = 90


@dataclass
class Demo:
    """A running demo: its address, and its people by role."""

    url: str
    people: dict[str, dict[str, Any]]
    folder: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    said, told = folder / "said.json", folder / "told.log"
    command = [sys.executable, "-m", "fablab", "demo", "--dir", str(folder / "lab"), "--port", str(free_port())]
    with said.open("wb") as out, told.open("wb") as err:
        process = subprocess.Popen(
            [*command, "--speed", str(SPEED), "--json"], stdout=out, stderr=err, start_new_session=True
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while b"\n" not in said.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the demo did not start: {told.read_text()[-2000:]}")
            time.sleep(0.1)
        ready = json.loads(said.read_text().splitlines()[0])
        people: dict[str, dict[str, Any]] = {}
        for person in ready["people"]:
            people.setdefault(person["role"], person)
        yield Demo(ready["url"], people, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def sign_in(demo: Demo, chromium: Browser) -> Iterator[Callable[..., Person]]:
    """`sign_in("member")` is a browser of that person; a complaint of its console fails the test."""
    people: list[Person] = []

    def enter(role: str, **more: Any) -> Person:
        person = Person(chromium, demo.url, **more)
        person.sign_in(demo.people[role]["login"], demo.people[role]["password"])
        people.append(person)
        return person

    yield enter
    complaints = [said for person in people for said in person.complaints]
    for person in people:
        person.page.context.close()
    assert not complaints
