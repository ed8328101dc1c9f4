"""The runner of commands, whose supervisor outlives this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

from necrocode.engine.stop import StopToken


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One shell command to be run in a slot."""

    #: Unique for ever (the effect's idempotency key): a command is started at most once.
    command_id: str
    run_id: str
    #: Passed to ``bash -c`` (``sh -c`` where there is no bash).
    command: str
    #: The slot. Also the working directory, unless ``cwd`` (relative to it) says otherwise.
    slot_path: Path
    timeout: timedelta
    cwd: str = "."
    #: Added to the clean environment.
    env: Mapping[str, str] = field(default_factory=dict)
    #: Names taken over from the runner's own environment (never a loaded credential).
    pass_env: Sequence[str] = ()
    #: All of it, none, or these hosts only: ``host``, ``*.domain`` or an address, each perhaps ``:port``.
    network: bool | tuple[str, ...] = False
    #: Bytes of output kept: the first half and the last half of it.
    max_output_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended."""

    #: ``exited`` (see ``exit_code``), ``timeout``, ``stopped`` (by us, on request), ``interrupted`` (lost: it never
    #: started, or whoever watched it died and its result is unknown), ``not_started`` (could not be executed at all).
    status: Literal["exited", "timeout", "stopped", "interrupted", "not_started"]
    #: 0–255 when it exited by itself; 128 + signal number when a signal ended it; ``None`` otherwise.
    exit_code: int | None
    #: stdout and stderr as they came, UTF-8 with undecodable bytes replaced, masked: head, a line saying how much was
    #: left out, tail.
    output: str
    #: Bytes of output that were left out.
    omitted_bytes: int
    duration: timedelta
    #: How it was confined: ``bubblewrap``, ``landlock`` or ``none``.
    sandbox: str
    #: What :meth:`CommandRunner.whole_output` calls the whole output, if something was left out and it was kept.
    whole: str = ""


class CommandRunner(Protocol):
    """Runs commands under a detached supervisor that outlives this process."""

    def run(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        """Start the command and wait for its end.

        When it returns, every process that the command left behind is gone, daemons included. stdin is closed. If
        ``stop`` asks for the end by anything but :class:`Superseded`, the command is killed and the result says
        ``stopped``; at :class:`Superseded` it raises that and leaves the command alone.
        :class:`EnvironmentFault` ``sandbox_missing``: a sandbox is required and there is none.
        """

    def attach(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        """Settle a command that an earlier process meant to start; never starts it.

        If it runs, wait for it; if it has ended, return what it left. If it never started, it must be made sure that it
        never will (the claim), and if it was lost, what is left of it is killed: ``interrupted``.
        """

    def reap(self, run_id: str, *, keep: Sequence[str] = ()) -> int:
        """Kill whatever still runs for ``run_id`` and forget its files, except the commands in ``keep``.

        Returns how many commands were killed.
        """

    def forget(self, command_id: str) -> None:
        """Remove what an ended command left on disk; its outcome is in the journal."""

    def whole_output(self, run_id: str, name: str) -> bytes | None:
        """The output that a result of the run calls ``whole``, masked, from its beginning up to a limit; ``None`` if it
        is not there any more.
        """
