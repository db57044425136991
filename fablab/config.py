"""THE configuration: fablab.toml plus FABLAB_* → one frozen, typed value. Nothing else reads the environment.

An unknown key is an error with a suggestion. Relative paths, SQLite's included, start at the folder of fablab.toml.
Secrets are in files or in the environment, never in fablab.toml itself.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, field

from fablab.messages import MachineSettings
from fablab.sentences import Refusal
from fablab.topics import BadName, check_name

ROLES = ("broker", "web", "hub", "agent")
DEFAULT_NAME = "fablab.toml"


class Serve(Struct, frozen=True, forbid_unknown_fields=True):
    """`roles`: what `fablab serve` runs on this box."""

    roles: tuple[str, ...] = ROLES


class Site(Struct, frozen=True, forbid_unknown_fields=True):
    """The place. `id` is also a level of every MQTT topic."""

    id: str
    name: str = "Fablab"
    timezone: str = "Europe/Paris"
    locale: str = "fr"
    phone: str = ""


class DatabaseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """`url`: sqlite:///file or postgresql+psycopg://user@host/name; the password is in `password_file`."""

    url: str = "sqlite:///fablab.db"
    password_file: str | None = None


class Broker(Struct, frozen=True, forbid_unknown_fields=True):
    """`url`: embedded, or mqtt://user@host:1883, or mqtts://…; the user is the hub's and the web's.

    `host` and `port` are where the embedded broker listens; any address but loopback is refused.
    """

    url: str = "embedded"
    host: str = "127.0.0.1"
    port: int = 1883
    password_file: str = "broker.password"
    ca_file: str | None = None


class Web(Struct, frozen=True, forbid_unknown_fields=True):
    """`workers`: web processes; `threads` in each, of which every open live page takes one."""

    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = "http://127.0.0.1:8080"
    secret_key_file: str = "secret.key"
    workers: int = 2
    threads: int = 24
    metrics_token_file: str | None = None


class Files(Struct, frozen=True, forbid_unknown_fields=True):
    dir: str = "files"
    max_upload_mb: int = 256


class AgentSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The box beside the machines. `speed` multiplies measured durations of simulators (1 on real ones)."""

    id: str = "main"
    hub_url: str = "http://127.0.0.1:8080"
    token_file: str = "agent.token"
    journal: str = "journal.db"
    speed: int = 1
    on_stop: str = "abort"  # abort | wait: what a service stop does with running serial machines


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of fablab.toml. `folder` is where it lies; `resolve` makes paths absolute."""

    site: Site
    serve: Serve = Serve()
    database: DatabaseSettings = DatabaseSettings()
    broker: Broker = Broker()
    web: Web = Web()
    files: Files = Files()
    agent: AgentSettings = AgentSettings()
    machines: tuple[MachineSettings, ...] = ()
    folder: str = field(default=".")

    def resolve(self, path: str) -> Path:
        """`path` as given when absolute, else below the folder of fablab.toml."""
        return Path(self.folder) / path

    @property
    def database_url(self) -> str:
        """The URL with SQLite's relative path made absolute."""
        prefix = "sqlite:///"
        if self.database.url.startswith(prefix):
            return prefix + str(self.resolve(self.database.url.removeprefix(prefix)))
        return self.database.url

    def secret(self, path: str | None) -> str | None:
        """The content of a secret file without its line end; None where none is named."""
        if path is None:
            return None
        file = self.resolve(path)
        try:
            return file.read_text(encoding="utf-8").strip()
        except FileNotFoundError as error:
            raise Refusal("secret_file_missing", path=str(file)) from error
        except PermissionError as error:
            raise Refusal("secret_file_unreadable", path=str(file)) from error


def load_config(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check the configuration. Raises `Refusal` with one clear sentence for whatever is wrong.

    `FABLAB_WEB_PORT=8081` overrides `[web] port`; the same for every key of a section that is not a list of tables.
    """
    environment = os.environ if environment is None else environment
    file = Path(path or environment.get("FABLAB_CONFIG") or DEFAULT_NAME)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise Refusal("config_missing", path=str(file)) from error
    except (PermissionError, IsADirectoryError, UnicodeDecodeError) as error:
        raise Refusal("config_unreadable", path=str(file)) from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refusal("config_not_toml", path=str(file), where=str(error)) from error
    _override(raw, environment)
    _check_keys(raw, Config, "")
    raw["folder"] = str(file.resolve().parent)
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise Refusal("config_value", path=str(file), where=str(error)) from error
    _check_values(config)
    return config


def _override(raw: dict[str, Any], environment: Mapping[str, str]) -> None:
    for section in Config.__struct_fields__:
        kind = _struct_of(Config, section)
        if kind is None or section in {"machines", "folder"}:
            continue
        for key in kind.__struct_fields__:
            value = environment.get(f"FABLAB_{section}_{key}".upper())
            if value is not None:
                raw.setdefault(section, {})[key] = _parse(value, kind, key)


def _parse(value: str, kind: type[Struct], key: str) -> Any:
    wanted = kind.__annotations__[key]
    if wanted is int:
        try:
            return int(value)
        except ValueError:
            return value  # the type check below says what is wrong
    if wanted == tuple[str, ...]:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _struct_of(kind: type[Struct], key: str) -> type[Struct] | None:
    wanted = kind.__annotations__.get(key)
    for candidate in (wanted, *get_args(wanted)):
        if isinstance(candidate, type) and issubclass(candidate, Struct):
            return candidate
    return None


def _check_keys(raw: object, kind: type[Struct], where: str) -> None:
    if isinstance(raw, list):
        for item in raw:
            _check_keys(item, kind, where)
        return
    if not isinstance(raw, dict):
        return  # of the wrong type: msgspec says so
    known = [name for name in kind.__struct_fields__ if name != "folder"]
    for key, value in raw.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise Refusal("config_unknown_key", key=f"{where}{key}", suggestion=near[0] if near else ", ".join(known))
        inner = _struct_of(kind, key)
        if inner is not None:
            _check_keys(value, inner, f"{where}{key}.")


def _check_values(config: Config) -> None:
    for name in (config.site.id, config.agent.id, *(machine.id for machine in config.machines)):
        try:
            check_name(name)
        except BadName as error:
            raise Refusal("config_bad_id", id=name) from error
    ids = [machine.id for machine in config.machines]
    for twice in {name for name in ids if ids.count(name) > 1}:
        raise Refusal("config_machine_twice", id=twice)
    for role in config.serve.roles:
        if role not in ROLES:
            raise Refusal("config_unknown_role", role=role, known=", ".join(ROLES))
    try:
        ZoneInfo(config.site.timezone)
    except (KeyError, ValueError, OSError) as error:
        raise Refusal("config_timezone", timezone=config.site.timezone) from error
    for port in (config.web.port, config.broker.port):
        if not 0 < port < 65536:
            raise Refusal("config_port", port=port)
    if config.broker.url == "embedded" and config.broker.host not in {"127.0.0.1", "::1", "localhost"}:
        raise Refusal("broker_not_loopback", host=config.broker.host)
