"""`fablab agent`: make this box the agent of a site, with a one-time code from the page. Loads no database."""

from pathlib import Path

import click


@click.group()
def agent() -> None:
    """Make this box the agent of a site."""


@agent.command()
@click.argument("url", metavar="URL")
@click.argument("code", metavar="CODE")
@click.option("--config", "file", type=click.Path(path_type=Path), default=None, help="fablab.toml (./fablab.toml).")
def enrol(url: str, code: str, file: Path | None) -> None:
    """Fetch this box's own secrets from the hub at URL, with the one-time CODE from its page."""
    import httpx
    import msgspec

    from fablab.config import load_config
    from fablab.devices.agent_token import AgentToken, save_token
    from fablab.refusals import Refusal

    config = load_config(file)
    try:
        answer = httpx.post(f"{url.rstrip('/')}/api/agent/enrol", json={"code": code}, timeout=30)
    except httpx.HTTPError as error:
        raise Refusal("hub_unreachable", url=url) from error
    if answer.status_code != 200:
        raise Refusal("enrol_code_wrong")
    told = answer.json()
    told.pop("site", None)
    try:
        token = msgspec.convert(told, AgentToken)
    except msgspec.ValidationError as error:
        raise Refusal("hub_unreachable", url=url) from error
    path = config.resolve(config.agent.token_file)
    save_token(path, token)
    click.echo(str(path))
