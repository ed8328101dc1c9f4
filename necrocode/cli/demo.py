"""``necrocode demo``: a run killed with SIGKILL, resumed and pushed."""

from __future__ import annotations

import os

import click

from necrocode.cli.session import leave


@click.command("demo")
@click.option(
    "--live", is_flag=True, help="Ask the real model (LLM_API_KEY and the configuration) instead of a recording."
)
@click.option("--keep", is_flag=True, help="Leave the temporary folder for a closer look.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def command(live: bool, keep: bool, debug: bool) -> None:
    """Run a whole task on a small real repository, kill the runner in the middle, resume it, and show what is left."""
    from necrocode.demo.show import perform

    if debug:
        os.environ["NECROCODE_DEBUG"] = "1"
    if live and not os.environ.get("LLM_API_KEY"):
        raise click.UsageError("--live needs LLM_API_KEY in the environment")

    def say(line: str) -> None:
        click.echo(line)

    leave(perform(live=live, keep=keep, say=say))
