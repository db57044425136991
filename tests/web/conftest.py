"""A small lab with pages: a real database, a real hub, a scripted agent, and Flask's test client."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fablab.bus_local import LocalBus
from fablab.config import AgentSettings, Config, Files, Site, Web
from fablab.gcode.facts import understand
from fablab.gcode.limits import Limits
from fablab.space.tables import ApiToken
from fablab.web.accounts import hash_password
from fablab.web.app import create_app
from fablab.web.live import Live
from fablab.web.security import hash_token
from fablab.web.tables import Account
from tests.builders_hub import KEY, NOW, add_person
from tests.builders_world import World

PASSWORD = "three good words"
HASH = hash_password(PASSWORD)  # once: it is slow on purpose
ROLES = ("volunteer", "technician", "manager", "treasurer", "coordinator", "administrator")
GCODE = Path(__file__).parent.parent / "fixtures" / "gcode"


class Lab:
    """The world of one test with its pages; `client(who)` is a browser in which that person is signed in."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.reader = lambda path: understand(path, Limits())
        secret = folder / "secret.key"
        secret.write_text("a secret of a test, long enough")
        self.config = Config(
            site=Site(id="nyons", name="Le Lab", phone="04 75 00 00 00"),
            web=Web(secret_key_file=str(secret), threads=6),
            files=Files(dir=str(folder), max_upload_mb=2),
            agent=AgentSettings(),
            folder=str(folder),
        )
        self.live = Live(self.world.clock, lambda machine: KEY, self._woken)
        bus = LocalBus(self.world.net)
        for pattern in ("fablab/v1/+/m/+/state", "fablab/v1/+/m/+/telemetry", "fablab/v1/hub/changed"):
            bus.subscribe(pattern, lambda message: self.live.feed(message.topic, message.payload))
        bus.start()
        self.app: Flask = create_app(self.config, database=self.world.database, live=self.live, clock=self.world.clock)
        self.app.testing = False
        self._people()

    def _woken(self, topic: str, payload: bytes) -> None:
        """The hub hears that something was committed, measures files and does its round."""
        self.world.hub.nudge()
        self.world.hub.measure_waiting()
        self.world.round()

    def _people(self) -> None:
        with self.world.database.write() as session:
            for role in ROLES:
                add_person(session, role, role)
            session.flush()
            for person in ("ana", "bob", "max", *ROLES):
                session.add(
                    Account(
                        id=f"account-{person}",
                        person_id=person,
                        login=person,
                        email=f"{person}@example.org",
                        password_hash=HASH,
                        uniquifier=f"unique-{person}",
                        active=True,
                        created_at=NOW,
                    )
                )

    def client(self, who: str | None = None) -> "Browser":
        browser = Browser(self.app.test_client())
        if who is not None:
            answer = browser.post("/login", {"login": who, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
        return browser

    def token(self, who: str = "ana", scope: str = "full", limit: int | None = None, name: str = "t") -> dict[str, str]:
        """Headers with a fresh key of a person."""
        secret = f"{who}-{scope}-{limit}-{name}"
        with self.world.database.write() as session:
            session.add(
                ApiToken(
                    id=secret, person_id=who, name=name, scope=scope, token_hash=hash_token(secret), limit_cents=limit,
                    created_at=NOW,
                )
            )  # fmt: skip
        return {"Authorization": f"Bearer {secret}"}


class Browser:
    """Flask's client that follows our forms: fetches the token of a page before it posts."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, url: str, **more: Any) -> Any:
        return self.client.get(url, **more)

    def csrf(self) -> str:
        page = self.client.get("/accessibility").text
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found is not None
        return found[1]

    def post(self, url: str, data: dict[str, Any] | None = None, **more: Any) -> Any:
        return self.client.post(url, data={**(data or {}), "csrf_token": self.csrf()}, **more)

    def upload(self, content: bytes, name: str = "cube.gcode", **choices: Any) -> Any:
        from io import BytesIO

        data = {**choices, "file": (BytesIO(content), name)}
        return self.post("/jobs/new", data, content_type="multipart/form-data")

    def draft(self, content: bytes | None = None, **choices: Any) -> str:
        """Upload a good file; the id of the job."""
        answer = self.upload(content or good_file(), **choices)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["Location"].rsplit("/", 1)[-1])


def good_file() -> bytes:
    """A small real slicer's file."""
    return (GCODE / "cube-pla-mk3.gcode").read_bytes()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def browse(lab: Lab) -> Callable[[str | None], Browser]:
    return lab.client
