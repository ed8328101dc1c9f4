"""``necrocode serve``: the three services on one port, or on three."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import click

from necrocode.cli.session import common, json_option, note, opened, print_json

PORT = 8420


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="The port; 0: any that is free."
)
@click.option("--registry-port", type=click.IntRange(0, 65535), help="A port of the task registry's own.")
@click.option("--pool-port", type=click.IntRange(0, 65535), help="A port of the repo pool's own.")
@click.option("--artifacts-port", type=click.IntRange(0, 65535), help="A port of the artifact store's own.")
@click.option(
    "--tokens",
    "tokens_file",
    type=click.Path(path_type=Path),
    help="A file of callers' tokens, a line each: 'reader|runner|admin: TOKEN' (or in NECROCODE_SERVE_TOKENS).",
)
@click.option(
    "--lease",
    type=click.FloatRange(1, 86_400),
    default=7200,
    show_default=True,
    help="Seconds without a renewal after which a slot is taken back.",
)
@click.option("--max-upload-mb", type=click.IntRange(1), default=256, show_default=True, help="Of one artifact.")
@json_option
@common
def command(
    host: str,
    port: int,
    registry_port: int | None,
    pool_port: int | None,
    artifacts_port: int | None,
    tokens_file: Path | None,
    lease: float,
    max_upload_mb: int,
    as_json: bool,
    config_file: Path | None,
    home: Path | None,
) -> None:
    """Serve a task registry, a repo pool and an artifact store over HTTP, from the stores of a home.

    Prints where, then answers until SIGTERM or Ctrl-C; requests under way are ended first. Without tokens it listens on
    this machine only, and everybody on it may do everything. There is no TLS: beyond a trusted network, put a proxy in
    front. The OpenAPI document is at /openapi.json.
    """
    from necrocode.artifacts.local import LocalArtifacts
    from necrocode.errors import InvalidInput, Problem
    from necrocode.pool.holders import LeaseHolders
    from necrocode.serve.application import PARTS, Part, Services, application
    from necrocode.serve.gate import Limits
    from necrocode.serve.listening import Listener, is_loopback, listen, serve
    from necrocode.serve.tokens import load_tokens
    from necrocode.wiring import commands_of, embedded_pool

    tokens, warnings = load_tokens(tokens_file, os.environ)
    if not tokens and not is_loopback(host):
        words = f"{host} can be reached from other machines: give callers tokens (--tokens FILE), or leave --host out"
        raise InvalidInput("--host", [Problem("", words)])
    own: dict[Part, int | None] = {"registry": registry_port, "pool": pool_port, "artifacts": artifacts_port}
    with opened(config_file, home) as runner, ExitStack() as stack:
        for warning in warnings:
            note(f"warning: {warning}")
        for token in tokens.known:
            runner.credentials.learn(f"{token.scope} token", token.secret)
        commands = stack.enter_context(commands_of(runner.home, runner.config, runner.credentials))
        leased = LeaseHolders(timedelta(seconds=lease))
        services = Services(
            database=runner.services,
            pool=embedded_pool(runner.home, runner.journal, runner.services, runner.config, commands, holders=leased),
            artifacts=LocalArtifacts(runner.services, runner.home.artifacts),
            lease=leased.lease,
        )
        limits = Limits(upload=max_upload_mb * 1024 * 1024)
        shared: list[Part] = [part for part in PARTS if own[part] is None]
        groups = [([part], number) for part, number in own.items() if number is not None]
        listeners: dict[str, Listener] = {}
        for parts, number in [*groups, *([(shared, port)] if shared else [])]:
            bound = stack.enter_context(listen(host, number))
            listener = Listener(bound, application(services, tokens, limits, parts))
            listeners |= dict.fromkeys(parts, listener)
        urls = {part: listeners[part].url for part in PARTS}
        if as_json:
            print_json(urls)
        else:
            for part, url in urls.items():
                click.echo(f"{part}: {url}")
        sys.stdout.flush()
        if not tokens:
            note("no tokens: everybody on this machine may do everything here")
        serve(list({id(listener): listener for listener in listeners.values()}.values()), services.bell.close)
        note("ended; nothing that was acknowledged is lost")
