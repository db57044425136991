"""Composes the web application. Nothing happens at import; `serve` calls `create_app` in each web process."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask

from fablab.clock import Clock, SystemClock
from fablab.config import Config
from fablab.db import Database
from fablab.sentences import Refusal
from fablab.web import context, errors, i18n, security, templating
from fablab.web.api import agents, octoprint, public, v1
from fablab.web.live import Live
from fablab.web.live_bus import connect
from fablab.web.pages.account import routes as account
from fablab.web.pages.bookings import routes as bookings
from fablab.web.pages.desk import routes as desk
from fablab.web.pages.home import routes as home
from fablab.web.pages.jobs import routes as jobs
from fablab.web.pages.live import routes as live_pages
from fablab.web.pages.login import routes as login
from fablab.web.pages.machines import routes as machines
from fablab.web.pages.people import routes as people
from fablab.web.pages.stock import routes as stock

PAGES = (home, login, jobs, machines, people, bookings, account, stock, desk, live_pages)
APIS = (v1, octoprint, agents, public)
MEGABYTE = 1_000_000


def create_app(
    config: Config,
    *,
    database: Database | None = None,
    live: Live | None = None,
    drivers: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> Flask:
    """The WSGI application. What is not handed over is made from `config`: the database, and a connection to the bus.

    Raises Refusal secret_file_missing, secret_key_short.
    """
    app = Flask("fablab.web", static_folder="static", template_folder="templates")
    clock = clock or SystemClock()
    database = database or Database(config.database_url, config.secret(config.database.password_file))
    secret = config.secret(config.web.secret_key_file) or ""
    if len(secret) < 16:
        raise Refusal("secret_key_short", path=config.web.secret_key_file)
    app.secret_key = secret
    app.config["MAX_CONTENT_LENGTH"] = config.files.max_upload_mb * MEGABYTE + 64 * 1024
    app.config["MAX_FORM_MEMORY_SIZE"] = 500_000
    app.config["MAX_FORM_PARTS"] = 200
    live = live or connect(config, database, clock)
    app.extensions["fablab"] = context.Parts(config, database, live, drivers or {}, clock)
    i18n.set_up(app)
    security.set_up(app, config, database)
    errors.set_up(app)
    templating.set_up(app)
    _register(app)
    return app


def compose(config: Config) -> Flask:
    """The application as `serve` runs it in each web process."""
    return create_app(config)


def _register(app: Flask) -> None:
    exempt: Callable[[Any], Any] = app.extensions["fablab_csrf"].exempt
    for page in PAGES:
        app.register_blueprint(page.blueprint)
    for api in APIS:
        exempt(api.blueprint)  # no cookie counts there
        app.register_blueprint(api.blueprint)
