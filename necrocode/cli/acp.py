"""``necrocode acp``: an agent that speaks the Agent Client Protocol, as a ``coder_command``."""

from __future__ import annotations

from pathlib import Path

import click

from necrocode.cli.session import leave, note


@click.command("acp", context_settings={"ignore_unknown_options": True})
@click.option(
    "--prompt",
    "prompt_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that says what is to be done.",
)
@click.option("--debug", is_flag=True, hidden=True)
@click.argument("agent", nargs=-1, required=True, type=click.UNPROCESSED)
def command(prompt_file: Path, agent: tuple[str, ...], debug: bool) -> None:
    """Have AGENT, a command that speaks the Agent Client Protocol, do one task in the current folder.

    For the setting coder_command: necrocode acp --prompt {prompt_file} -- some-agent --acp

    Whatever the agent asks permission for is allowed: the sandbox of the run is what holds it.
    """
    del debug
    try:
        from necrocode.coder.acp_client import AgentFailed, run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "acp":
            raise
        note("error: this needs the package agent-client-protocol: pip install 'necrocode[acp]'")
        leave(2)
    try:
        run(prompt_file.read_text(encoding="utf-8"), agent, Path.cwd())
    except AgentFailed as error:
        note(f"error: {error}")
        leave(1)
