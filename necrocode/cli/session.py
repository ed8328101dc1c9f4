"""What every command shares: common options, an opened runner, errors as messages, JSON on stdout."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from necrocode import exits

if TYPE_CHECKING:
    from necrocode.runner import Runner

F = TypeVar("F", bound=Callable[..., Any])

_DEBUG = "NECROCODE_DEBUG"


def common(function: F) -> F:
    """The options of every command that opens a home: ``--config``, ``--home``, ``--debug``."""
    for option in (
        click.option("--debug", is_flag=True, help="Show tracebacks."),
        click.option("--home", type=click.Path(path_type=Path), help="The folder of journal, slots and artifacts."),
        click.option(
            "--config", "config_file", type=click.Path(path_type=Path), help="A configuration file (TOML or YAML)."
        ),
    ):
        function = option(function)

    @functools.wraps(function)
    def wrapper(*args: Any, debug: bool, **kwargs: Any) -> Any:
        if debug:
            os.environ[_DEBUG] = "1"
        return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


@contextmanager
def opened(config_file: Path | None, home: Path | None, *, take_over: bool = False, **flags: Any) -> Iterator[Runner]:
    """A runner over the configured home, its log going to stderr. Warnings are printed first.

    ``take_over`` as of :class:`~necrocode.runner.Runner`.
    """
    from necrocode.config_sources import load_config
    from necrocode.logs import configure_logging
    from necrocode.runner import Runner

    loaded = load_config({"home": home, **flags}, config_file)
    with Runner(loaded, take_over=take_over) as runner:
        # People have the progress lines; what they did not ask for would only stand between those.
        quiet = "log_level" not in loaded.sources and not loaded.config.structured_logging
        configure_logging(
            level="error" if quiet else loaded.config.log_level,
            structured=loaded.config.structured_logging,
            mask=runner.credentials.mask,
        )
        for warning in (*loaded.warnings, *runner.warnings):
            note(f"warning: {warning}")
        yield runner


def note(message: str) -> None:
    """A line for people: on stderr, so that stdout stays for data."""
    click.echo(message, err=True)


def counted(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``, ``3 entries``."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    ascii_only = sys.stdout.encoding.lower() not in ("utf-8", "utf8")
    json.dump(document, sys.stdout, indent=2, ensure_ascii=ascii_only, default=str)
    sys.stdout.write("\n")


def leave(code: int) -> NoReturn:
    """End the command with ``code``."""
    raise click.exceptions.Exit(code)


def prepare_standard_streams() -> None:
    """Open what was closed when we were started (else a database gets the number 2, and messages go into it), and have
    what an output cannot encode escaped.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A title that this terminal cannot show is no reason to fail.
            stream.reconfigure(errors="backslashreplace")


def reported(call: Callable[[], Any]) -> int:
    """Run ``call``; turn whatever it raises into one message on stderr, and return the exit code."""
    try:
        result = call()
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return exits.USAGE
    except (click.Abort, KeyboardInterrupt):
        note("interrupted")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone: nothing more can be said.
        _forget_output()
        return exits.COMPLETED
    except Exception as error:  # noqa: BLE001 - the last door before the user
        return _explain(error)
    return result if isinstance(result, int) else exits.COMPLETED


def _explain(error: Exception) -> int:
    from necrocode.engine.errors import (
        EngineError,
        EnvironmentFault,
        JournalDamaged,
        LeaseHeld,
        RunNotFound,
    )
    from necrocode.errors import DamagedArtifact, InvalidInput

    if os.environ.get(_DEBUG):
        import traceback

        traceback.print_exc()
    if isinstance(error, InvalidInput | RunNotFound):
        note(f"error: {error}")
        return exits.USAGE
    if isinstance(error, LeaseHeld):
        note(f"error: {error}")
        return exits.DRIVEN_ELSEWHERE
    if isinstance(error, JournalDamaged):
        note(f"error: {error}\nsee 'necrocode verify --all'")
        return exits.DAMAGED
    if isinstance(error, DamagedArtifact):
        note(f"error: {error}")
        return exits.DAMAGED
    if isinstance(error, EnvironmentFault | EngineError):
        note(f"error: {error}")
        return exits.ENVIRONMENT
    if isinstance(error, OSError):
        note(f"error: {_os_words(error)} (--debug shows where)")
        _forget_output()
        return exits.ENVIRONMENT
    note(f"error: {type(error).__name__}: {error}")
    note("this is a bug; --debug shows where. Nothing that was recorded is lost.")
    return exits.ENVIRONMENT


def _os_words(error: OSError) -> str:
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the working directory is not there any more"
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)


def _forget_output() -> None:
    """What is still buffered for stdout cannot be written; without this, the interpreter complains at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
