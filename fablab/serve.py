"""The composition root: what runs in which process. Decides nothing about machines, money or people."""

import logging
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fablab.config import Config
from fablab.lifeline import end_with_parent
from fablab.logs import set_up
from fablab.sentences import Refusal
from fablab.tree import Role, Tree

log = logging.getLogger(__name__)

BROKER_PATIENCE_S = 15.0


def run_tree(config: Config, file: Path, roles: tuple[str, ...], more: tuple[Role, ...] = ()) -> Tree:
    """Start the roles as children, the broker first; returns the running tree. Call from the main thread."""
    refuse_open_demo(config)
    check_ports(config, roles)
    ordered = [name for name in ("broker", "hub", "web", "agent") if name in roles]
    tree = Tree([*(child(name, file) for name in ordered), *more])
    tree.watch_signals()
    for name in ordered:
        tree.start(name)
        if name == "broker":
            wait_for_port(config.broker.host, config.broker.port, tree)
    for role in more:
        tree.start(role.name)
    return tree


def child(role: str, file: Path) -> Role:
    return Role(role, ("-m", "fablab", "serve", "--role", role, "--config", str(file)))


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
                "post_fork": lambda server, worker: end_with_parent(server.pid),
                "worker_exit": lambda server, worker: None,
                "control_socket_disable": True,
            }.items():
                if key in self.cfg.settings:
                    self.cfg.set(key, value)

        def load(self) -> Any:
            from fablab.web.app import compose

            return compose(config)

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


def public_address(config: Config) -> str:
    """Where a browser on this box finds the pages."""
    return config.web.public_url or f"http://{config.web.host}:{config.web.port}"


def is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def stop_on_signals() -> Any:
    """An event that SIGTERM and SIGINT set; the second signal ends the process at once."""
    import threading

    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            sys.exit(1)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop
