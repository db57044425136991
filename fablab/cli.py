"""The commands. Each body is short and calls a verb elsewhere; modules are imported when their command runs.

Hence `print`, `inspect` and `probe` load neither Flask nor SQLAlchemy, and need no fablab.toml.
"""

import importlib
import sys

import click

from fablab.lifeline import end_with_parent

COMMANDS = {
    "agent": "fablab.cli_agent:agent",
    "broker": "fablab.cli_broker:broker",
    "db": "fablab.cli_db:db",
    "demo": "fablab.cli_demo:demo",
    "dev": "fablab.cli_dev:dev",
    "init": "fablab.cli_init:init",
    "inspect": "fablab.cli_inspect:inspect_command",
    "ledger": "fablab.cli_db:ledger",
    "print": "fablab.cli_print:print_command",
    "probe": "fablab.cli_probe:probe_command",
    "serve": "fablab.cli_serve:serve",
}
SUMMARIES = {
    "agent": "Make this box the agent of a site.",
    "broker": "Mosquitto's configuration, access list and passwords for this installation.",
    "db": "Upgrade, back up and restore the database.",
    "demo": "A simulated lab with people and machines: one command, no hardware.",
    "dev": "Tools for those who work on Fablab.",
    "init": "Make fablab.toml, the database and the first administrator.",
    "inspect": "What a G-code file is, needs and does, and what is hazardous in it.",
    "ledger": "Check that every cent is accounted for.",
    "print": "Print one file from the terminal, without server.",
    "probe": "What is on this serial port, and the profile that fits.",
    "serve": "Run the roles that fablab.toml names.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name]} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = click.utils.make_str(args[0])
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"No such command '{name}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fablab-atelier", prog_name="fablab")
def fablab() -> None:
    """Fablab runs a makerspace from the member's file to the settled bill."""


def main() -> None:
    """Run the command line. A refusal is one clear line on standard error and exit status 2."""
    from fablab.sentences import Refusal, sentence
    from fablab.terminal import terminal_language

    end_with_parent()
    try:
        status = fablab.main(standalone_mode=False)  # what `Exit` was raised with comes back as a value
        if isinstance(status, int) and status:
            sys.exit(status)
    except Refusal as refusal:
        click.echo(f"fablab: {sentence(refusal.code, terminal_language(), **refusal.data)}", err=True)
        sys.exit(2)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
