"""`fablab serve`: run the roles that fablab.toml names, or those of the command line."""

import sys
from pathlib import Path

import click


@click.command()
@click.option("--role", "roles", multiple=True, help="Only this role: broker, web, hub or agent. May be given again.")
@click.option("--config", "file", type=click.Path(path_type=Path), default=None, help="fablab.toml (./fablab.toml).")
def serve(roles: tuple[str, ...], file: Path | None) -> None:
    """Run the roles that fablab.toml names."""
    from fablab.config import DEFAULT_NAME, ROLES, load_config
    from fablab.logs import set_up
    from fablab.sentences import Refusal
    from fablab.serve import run_role, run_tree

    config = load_config(file)
    wanted = roles or config.serve.roles
    for role in wanted:
        if role not in ROLES:
            raise Refusal("config_unknown_role", role=role, known=", ".join(ROLES))
    if len(wanted) == 1:
        sys.exit(run_role(config, wanted[0]))
    set_up("serve")
    sys.exit(run_tree(config, (file or Path(DEFAULT_NAME)).resolve(), tuple(wanted)).run())
