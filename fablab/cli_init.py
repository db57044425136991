"""`fablab init`: make fablab.toml, the secrets, the database, the house's rules and the first administrator."""

from pathlib import Path

import click


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), default=Path("fablab.toml"), show_default=True)
@click.option("--site-id", prompt="Short name of the place, for addresses (e.g. nyons)")
@click.option("--site-name", prompt="Name of the place")
@click.option("--timezone", default="Europe/Paris", show_default=True)
@click.option("--locale", type=click.Choice(["fr", "en"]), default="fr", show_default=True)
@click.option("--phone", prompt="Phone number to show on every page", default="")
@click.option("--unattended/--attended", default=False, prompt="May machines run at night or with nobody there?")
@click.option("--failed-part", type=click.Choice(["free", "material", "full"]), default="free", show_default=True,
              help="What a part costs that was judged failed.")  # fmt: skip
@click.option("--margin", type=click.IntRange(0, 200), default=20, show_default=True,
              help="Percent that the price at most lies above the expected one.")  # fmt: skip
@click.option("--database", "database_url", default="sqlite:///fablab.db", show_default=True)
@click.option("--database-password-file", default=None)
@click.option("--broker", "broker_url", default="embedded", show_default=True)
@click.option("--web-port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option("--broker-port", type=click.IntRange(1, 65535), default=1883, show_default=True)
@click.option("--admin-name", prompt="Name of the first administrator")
@click.option("--admin-login", prompt="Login of the first administrator")
@click.option("--admin-password-file", type=click.Path(exists=True, path_type=Path), default=None,
              help="Read the password from this file instead of asking.")  # fmt: skip
def init(
    file: Path, admin_name: str, admin_login: str, admin_password_file: Path | None, unattended: bool,
    failed_part: str, margin: int, database_password_file: str | None, **wishes: str | int,
) -> None:  # fmt: skip
    """Make fablab.toml, the database, the house's rules and the first administrator."""
    from fablab.clock import SystemClock
    from fablab.config import load_config
    from fablab.installation import FirstAdministrator, HouseRules, Wishes, found, write_files

    if admin_password_file is not None:
        password = admin_password_file.read_text(encoding="utf-8").strip()
    else:
        password = click.prompt("Password (ten characters at least)", hide_input=True, confirmation_prompt=True)
    made = write_files(file, Wishes(**wishes, database_password_file=database_password_file))  # type: ignore[arg-type]
    found(
        load_config(made),
        SystemClock().now(),
        FirstAdministrator(admin_name, admin_login, password),
        HouseRules(unattended=unattended, failed_part=failed_part, margin_percent=margin),
    )
    click.echo(f"{made} is ready. Next: add machines to it, then run: fablab serve --config {made}")
