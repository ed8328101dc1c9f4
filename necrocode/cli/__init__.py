"""The command line. Each command is a module of its own, imported only when it is used: ``--help`` must be instant."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

import click

COMMANDS = {
    "run": "Take tasks from their task files to pushed branches.",
    "resume": "Go on with runs that were killed, interrupted or parked.",
    "tasks": "Import task sets, list them, move their tasks.",
    "runs": "List runs.",
    "show": "Show one run and its journal.",
    "watch": "Follow a run that another process drives.",
    "cancel": "End a run, alive or dead, and clean up after it.",
    "verify": "Check that the journal says what it said when it was written.",
    "diagram": "Print the lifecycle as a Mermaid diagram.",
    "doctor": "Look at the machine, and at what runs have left behind.",
    "demo": "See a run killed with SIGKILL, resumed and pushed, in a temporary folder.",
    "db": "Upgrade or check the database files.",
    "artifacts": "List what was kept of runs, or export it as a ZIP file.",
    "prune": "Remove old runs, artifacts and slots.",
    "acp": "Have an agent of the Agent Client Protocol do a task: for coder_command.",
    "serve": "Serve a task registry, a repo pool and an artifact store over HTTP.",
}
"""Name and help line of each command; its module in this package has the same name and a ``command``."""


class LazyCommands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of :data:`COMMANDS`."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"necrocode.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing one."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="necrocode", prog_name="necrocode")
def cli() -> None:
    """necrocode: a coding-agent runner that you can kill.

    Exit codes: 0 completed, 1 the task failed, 2 bad usage or input, 3 the environment failed (the run can be resumed),
    4 driven by another process, 5 verification found damage, 6 budget or deadline, 7 stuck, 130 interrupted (the run
    can be resumed).
    """


def main() -> None:
    """The entry point: every error is one clear message, a traceback only with ``--debug``."""
    from necrocode.cli.session import prepare_standard_streams, reported

    prepare_standard_streams()
    # what is imported stays: to look for garbage in it after every 700 objects takes a tenth of the start, and to look
    # once before the first request (by which a run has made 133,000) still takes 50 ms
    gc.set_threshold(300_000)
    code = reported(lambda: cli.main(prog_name="necrocode", standalone_mode=False))
    # nor at the end, where Python would look through all of it: a fifth of a short command's time
    gc.freeze()
    sys.exit(code)
