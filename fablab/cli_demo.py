"""`fablab demo`: a simulated lab with people and machines. One command, no hardware, loopback only."""

import sys
from pathlib import Path

import click


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Where the pages are.")
@click.option("--speed", type=click.IntRange(1, 1000), default=60, show_default=True, help="How much faster than life.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON when all is ready.")
def demo(folder: Path, port: int, speed: int, as_json: bool) -> None:
    """A simulated lab with people and machines: one command, no hardware."""
    from fablab.demo import announce, start_demo, wait_until_ready
    from fablab.logs import set_up

    set_up("demo")
    lab = start_demo(folder, port, speed)
    if wait_until_ready(lab):
        announce(lab, as_json)
    sys.exit(lab.tree.run())
