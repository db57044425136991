"""`fablab dev`: tools for those who work on Fablab. Draws the state tables; a test keeps drawing and table equal."""

from pathlib import Path

import click


@click.group()
def dev() -> None:
    """Tools for those who work on Fablab."""


@dev.command()
@click.option("--into", "folder", type=click.Path(path_type=Path), default=Path("docs/states"), show_default=True)
def states(folder: Path) -> None:
    """Draw the state tables of job, run and order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages().items():
        (folder / f"{name}.md").write_text(page, encoding="utf-8")
        click.echo(str(folder / f"{name}.md"))


def pages() -> dict[str, str]:
    """File name → Markdown page with a mermaid diagram and the table it was drawn from."""
    from fablab.queue.command_states import COMMAND_TABLE
    from fablab.queue.job_states import JOB_TABLE
    from fablab.queue.run_states import RUN_TABLE

    pages = {}
    for name, table in (("job", JOB_TABLE), ("run", RUN_TABLE), ("command", COMMAND_TABLE)):
        rows = [(str(state), str(event), str(after)) for (state, event), after in table.items()]
        lines = [f"# States of a {name}", "", "Drawn by `fablab dev states`; do not edit.", "", "```mermaid"]
        lines += ["stateDiagram-v2", *(f"    {state} --> {after}: {event}" for state, event, after in rows), "```", ""]
        lines += ["| state | event | next |", "|---|---|---|"]
        lines += [f"| {state} | {event} | {after} |" for state, event, after in rows]
        pages[name] = "\n".join(lines) + "\n"
    return pages
