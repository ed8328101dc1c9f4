"""``necrocode diagram``: the lifecycle, drawn from its table."""

from __future__ import annotations

import click


@click.command("diagram")
@click.option("--table", is_flag=True, help="Print the table in Markdown instead.")
@click.option("--debug", is_flag=True, hidden=True)
def command(table: bool, debug: bool) -> None:
    """Print the lifecycle as a Mermaid diagram."""
    del debug
    from necrocode.engine.diagram import markdown, mermaid
    from necrocode.states.lifecycle import LIFECYCLE

    click.echo(markdown(LIFECYCLE) if table else mermaid(LIFECYCLE), nl=False)
