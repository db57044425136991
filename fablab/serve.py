"""The composition root: what runs in which process. Decides nothing about machines, money or people."""

import logging
import socket
import time
from pathlib import Path
from typing import Any

from fablab.config import Config
from fablab.lifeline import end_with_parent
from fablab.logs import set_up
from fablab.sentences import Refusal
from fablab.tree import Role, Tree

log = logging.getLogger(__name__)

BROKER_PATIENCE_S = 15.0


def run_tree(
    config: Config,
    file: Path,
    roles: tuple[str, ...],
    more: tuple[Role, ...] = (),
    overrides: dict[str, str] | None = None,
) -> Tree:
    """Start the roles as children, the broker first; returns the running tree. Call from the main thread.

    `overrides` are FABLAB_* that went into `config` already and that the children must see too.
    """
    refuse_open_demo(config)
    check_ports(config, roles)
    ordered = [name for name in ("broker", "hub", "web", "agent") if name in roles]
    tree = Tree([*(child(name, file, overrides) for name in ordered), *more])
    tree.watch_signals()
    for name in ordered:
        tree.start(name)
        if name == "broker":
            wait_for_port(config.broker.host, config.broker.port, tree)
    for role in more:
        tree.start(role.name)
    return tree


def child(role: str, file: Path, overrides: dict[str, str] | None = None) -> Role:
    """The process of one role."""
    return Role(role, ("-m", "fablab", "serve", "--role", role, "--config", str(file)), overrides or {})


def run_role(config: Config, role: str) -> int:
    """Run one role in this process until it is told to stop; returns the exit status."""
    set_up(role)
    refuse_open_demo(config)
    if role == "broker":
        from fablab.broker import serve_embedded

        return serve_embedded(config)
    if role == "hub":
        from fablab.queue.hub import run_hub

        return run_hub(config)
    if role == "agent":
        from fablab.devices.agent import run_agent

        return run_agent(config)
    return run_web(config)


def run_web(config: Config) -> int:
    """Serve the pages with gunicorn: several processes, and threads in each, one for every open live page."""
    from gunicorn.app.base import BaseApplication

    class Pages(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for key, value in {
                "bind": [f"{config.web.host}:{config.web.port}"],
                "workers": config.web.workers,
                "worker_class": "gthread",
                "threads": config.web.threads,
                "timeout": 120,
                "graceful_timeout": 5,
                "keepalive": 5,
                "errorlog": "-",
                "loglevel": "warning",
                "forwarded_allow_ips": "127.0.0.1,::1",
                "post_fork": lambda server, _worker: end_with_parent(server.pid),
                "control_socket_disable": True,
            }.items():
                if key in self.cfg.settings:
                    self.cfg.set(key, value)

        def load(self) -> Any:
            from fablab.devices.drivers import REGISTRY
            from fablab.web.app import create_app

            return create_app(config, drivers=REGISTRY)

    Pages().run()
    return 0


def refuse_open_demo(config: Config) -> None:
    """A demo lab has people whose passwords are on paper: it is served on loopback only."""
    demo = config.resolve("demo.json").exists()
    if demo and config.web.host not in {"127.0.0.1", "::1", "localhost"}:
        raise Refusal("demo_not_loopback", host=config.web.host)


def check_ports(config: Config, roles: tuple[str, ...]) -> None:
    """Say clearly which port is taken, before any child starts. Raises Refusal port_taken."""
    wanted = [(config.web.host, config.web.port, "web")] if "web" in roles else []
    if "broker" in roles:
        wanted.append((config.broker.host, config.broker.port, "broker"))
    for host, port, section in wanted:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise Refusal("port_taken", host=host, port=port, section=section) from error


def wait_for_port(host: str, port: int, tree: Tree, seconds: float = BROKER_PATIENCE_S) -> None:
    """Give the broker a moment; who connects later waits by itself, so a slow one is no failure."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not tree.stopping:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex((host, port)) == 0:
                return
        tree.step()
        time.sleep(0.05)
