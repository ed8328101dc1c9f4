"""Runs commands under detached supervisors, and settles those of runners that died."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal

from necrocode.commands.folder import (
    CommandFolder,
    Ending,
    clear_drafts,
    clear_litter,
    runs_with_commands,
)
from necrocode.commands.gitguard import KEPT_FILE, put_back
from necrocode.commands.leftovers import commands_with_processes, kill_command
from necrocode.commands.limits import CommandLimits
from necrocode.commands.link import SupervisorLink
from necrocode.commands.output import present
from necrocode.commands.request import HOME, TEMPORARY, Requests
from necrocode.commands.sandbox import SandboxMode, SandboxReport, probe
from necrocode.commands.whole import WholeOutputs
from necrocode.disk import disk_trouble, file_errors
from necrocode.engine.errors import EnvironmentFault, Superseded
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandResult, CommandSpec

#: How soon a wait notices that it should end.
TICK = timedelta(milliseconds=40)
#: How often a wait looks on the disk, should word from the supervisor have been lost.
_TICKS_PER_LOOK = 25
_STARTS = 3

_FOLDERS = {"bubblewrap": (), "landlock": (HOME, TEMPORARY), "none": (HOME,)}
"""By sandbox: the folders of its own that a command is given."""

Status = Literal["exited", "timeout", "stopped", "interrupted", "not_started"]


class SupervisedCommands:
    """The port :class:`~necrocode.states.ports.CommandRunner` over real processes.

    ``commands_dir`` (made if missing, mode 0700) holds a folder per command until it is forgotten; any later runner
    finds running commands there. ``sandbox``: ``auto`` confines where a sandbox works, ``require`` refuses to run
    where none does, ``bubblewrap`` and ``landlock`` where that one doesn't, ``off`` never confines. ``limits`` hold in
    any case, that of processes in a sandbox. ``mask`` hides loaded credentials in output and decides which
    environment variables hold one; ``secret_names`` are variables that are never passed on. ``hidden`` is what no
    tool may uncover in the sandbox (default: the parent of ``commands_dir``, necrocode's home), ``read_only_paths``
    gives what a slot needs readable besides itself, such as the object cache that its alternates name.
    ``patience`` is how long a keeper may take to stop its command before both are killed. ``fence``: raises
    ``Superseded`` if another process drives the run by now; asked before anything is started, declared lost or killed.

    Safe between threads. :meth:`close` it, or use it as a context manager.
    """

    def __init__(
        self,
        commands_dir: Path,
        *,
        sandbox: SandboxMode = "auto",
        mask: Callable[[str], str] = lambda text: text,
        secret_names: Collection[str] = (),
        hidden: Sequence[Path] | None = None,
        read_only_paths: Callable[[Path], Sequence[Path]] = lambda _slot: (),
        limits: CommandLimits = CommandLimits(),  # noqa: B008 - frozen
        patience: timedelta = timedelta(seconds=15),
        fence: Callable[[], None] = lambda: None,
        whole: WholeOutputs | None = None,
    ) -> None:
        self._whole = whole
        self._dir = Path(commands_dir).absolute()
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._scope = hashlib.sha256(os.fsencode(os.path.realpath(self._dir))).hexdigest()[:16]
        self._mode = sandbox
        self._mask = mask
        self._requests = Requests(
            self._dir,
            self._scope,
            limits=limits,
            mask=mask,
            secret_names=frozenset(secret_names),
            hidden=[self._dir.parent] if hidden is None else list(hidden),
            read_only_paths=read_only_paths,
        )
        self._patience = patience
        self._fence = fence
        self._link = SupervisorLink(self._dir)

    # -- around the port --

    def warm(self) -> None:
        """Do ahead what the first command would wait for: start the supervisor, try the sandbox."""
        self._link.start()
        threading.Thread(target=self._prepare, name="necrocode-sandbox", daemon=True).start()

    def _prepare(self) -> None:
        # What cannot be done now, the first command tries again, and says why.
        with suppress(OSError, EnvironmentFault):
            self._requests.warm(self.sandbox_report())

    def sandbox_report(self) -> SandboxReport:
        """How commands will be confined; the first call tries it. At kind ``none`` the caller warns loudly."""
        return probe(self._mode)

    def supervisor_pid(self) -> int | None:
        """The process that commands are run by now, if one was started."""
        return self._link.pid()

    def close(self) -> None:
        """Let the supervisor go; commands that still run go on to their end."""
        self._link.close()

    def __enter__(self) -> SupervisedCommands:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the port --

    def run(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        """Start the command, unless it ever was, and wait for its end. See the port.

        Also :class:`EnvironmentFault` ``supervisor``: commands cannot be run at all here.
        """
        if isinstance(stop.signal, Superseded):
            raise stop.signal
        if stop.signal is not None:
            return self._result("stopped")
        folder = self._folder(spec.command_id)
        with self._explained():
            if folder.claim() is None:
                self._fence()
                request = self._requests.of(spec, folder, self._sandbox())
                if isinstance(request, str):
                    # nobody may take it up later either
                    folder.take_claim("runner", run_id=spec.run_id, command_id=spec.command_id)
                    return self._result("not_started", problem=request)
                folder.write_request(request, folders=_FOLDERS[request["start"]["sandbox"]])
                self._start(folder, spec, stop)
                if request["start"]["sandbox"] == "bubblewrap" and not request["start"]["hosts"]:
                    self._link.set_up_ahead(request["start"])
            return self._settle(folder, spec, stop, if_never_started="stopped")

    def attach(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        """Settle a command that an earlier process meant to start; never starts it. See the port."""
        if isinstance(stop.signal, Superseded):
            raise stop.signal
        with self._explained():
            return self._settle(self._folder(spec.command_id), spec, stop, if_never_started="interrupted")

    def reap(self, run_id: str, *, keep: Sequence[str] = ()) -> int:
        """Kill what still runs for ``run_id`` and forget its files, but for the commands in ``keep``. See the port."""
        killed: set[str] = set()
        self._fence()
        with self._explained():
            for folder in CommandFolder.all_in(self._dir, self._scope):
                owner = folder.owner()
                if owner is None or owner[0] != run_id or owner[1] in keep:
                    continue
                if self._end(folder, run_id, owner[1]):
                    killed.add(owner[1])
                folder.remove()
            for command_id, of_run in commands_with_processes(self._scope).items():
                if of_run == run_id and command_id not in keep and kill_command(command_id, self._scope, None):
                    killed.add(command_id)
            clear_drafts(self._dir, run_id)
            clear_litter(self._dir)
        return len(killed)

    def runs(self) -> list[str]:
        """The runs that have anything here: folders of commands, or processes whose folder is gone; sorted."""
        return sorted({*runs_with_commands(self._dir), *commands_with_processes(self._scope).values()})

    def strays(self) -> dict[str, str]:
        """Commands that have processes although their keeper is dead: run id by command id.

        Whatever becomes of the run, nobody will take their result.
        """
        found = commands_with_processes(self._scope)
        return {command_id: run for command_id, run in found.items() if not self._folder(command_id).keeper_lives()}

    def kill_strays(self) -> None:
        """Kill what :meth:`strays` finds. Their folders stay: a run that is resumed reads there what became of them."""
        for command_id in self.strays():
            self._folder(command_id).kill_leftovers(command_id)

    def forget(self, command_id: str) -> None:
        """Remove what an ended command left on disk; one that still runs is left alone.

        The claim that keeps a command from ever being started stays until the run is reaped: whoever meant to start it
        may still be about to.
        """
        folder, claim = self._folder(command_id), self._folder(command_id).claim()
        if claim is not None and claim.by == "recovery":
            return
        with self._explained():
            ending = folder.ending()
            if ending is not None and not _FOLDERS[ending.sandbox]:
                folder.remove(self._link.remove)
            elif ending is not None or not folder.keeper_lives():
                folder.remove()

    def whole_output(self, run_id: str, name: str) -> bytes | None:
        """What a result calls ``whole``: see the port."""
        return self._whole.read(run_id, name) if self._whole is not None else None

    def _explained(self) -> AbstractContextManager[None]:
        return file_errors(self._dir, reason="supervisor")

    def _folder(self, command_id: str) -> CommandFolder:
        return CommandFolder.of(self._dir, command_id, self._scope)

    # -- starting --

    def _sandbox(self) -> SandboxReport:
        report = self.sandbox_report()
        if report.kind == "none" and self._mode not in ("auto", "off"):
            wanted = "a sandbox" if self._mode == "require" else self._mode
            raise EnvironmentFault(
                f"{wanted} is required and there is none: {report.why}."
                " Install bubblewrap, or set sandbox to auto or off",
                stop_reason="sandbox_missing",
            )
        return report

    def _start(self, folder: CommandFolder, spec: CommandSpec, stop: StopToken) -> None:
        """Hand the command to a supervisor; returns when it ended, its end is asked for, or the disk knows more."""
        for _ in range(_STARTS):
            done = self._link.submit(folder.path.name)
            ticks = 0
            while not done.wait(TICK.total_seconds()):
                ticks += 1
                if stop.signal is not None:
                    return
                if ticks % _TICKS_PER_LOOK == 0:
                    _refuse_settled(folder, spec)
                    if folder.claim() is not None and not folder.keeper_lives():
                        return
            if folder.claim() is not None:
                return
            _refuse_settled(folder, spec)
        error = folder.error()
        self._fence()
        if folder.take_claim("runner", run_id=spec.run_id, command_id=spec.command_id):
            trouble = error and disk_trouble(self._dir, error)
            if trouble:
                raise trouble
            raise EnvironmentFault(
                f"commands cannot be run: {_STARTS} times nobody took up command {spec.command_id}"
                f" ({error or 'is the machine out of memory or processes?'})",
                stop_reason="supervisor",
            )

    # -- settling --

    def _settle(
        self, folder: CommandFolder, spec: CommandSpec, stop: StopToken, *, if_never_started: Status
    ) -> CommandResult:
        """Wait for the end of a command that has a claim; claim one that has none.

        Raises :class:`Superseded` if its folder vanishes meanwhile: whoever drives the run now has settled it.
        """
        known = folder.path.exists()
        while True:
            if known:
                _refuse_settled(folder, spec)
            known = True
            ending = folder.ending()
            if ending is not None:
                return self._ended(ending, folder, spec)
            claim = folder.claim()
            if claim is None:
                self._fence()
                if folder.take_claim("recovery", run_id=spec.run_id, command_id=spec.command_id):
                    return self._result(if_never_started)
                continue
            if not folder.keeper_lives():
                # it may have written its result just before it went
                ending = folder.ending()
                if ending is not None:
                    return self._ended(ending, folder, spec)
                return self._lost(folder, spec, "interrupted")
            signal = stop.signal
            if isinstance(signal, Superseded):
                raise signal
            if signal is not None:
                folder.stop(claim, self._patience)
                ending = folder.ending()
                return self._ended(ending, folder, spec) if ending is not None else self._lost(folder, spec, "stopped")
            folder.wait(claim, TICK)

    def _end(self, folder: CommandFolder, run_id: str, command_id: str) -> bool:
        """Make sure that nothing of a command runs or ever will; whether something did."""
        if folder.claim() is None and folder.take_claim("recovery", run_id=run_id, command_id=command_id):
            return False
        claim = folder.claim()
        if folder.ending() is not None or claim is None:
            return False
        if folder.keeper_lives():
            folder.stop(claim, self._patience)
            return True
        return folder.kill_leftovers(command_id) > 0

    def _lost(self, folder: CommandFolder, spec: CommandSpec, status: Status) -> CommandResult:
        folder.kill_leftovers(spec.command_id)
        put_back(str(folder.path / KEPT_FILE))
        return self._result(status, head=folder.partial_output())

    def _ended(self, ending: Ending, folder: CommandFolder, spec: CommandSpec) -> CommandResult:
        whole = ""
        if self._whole is not None and ending.omitted_bytes:
            whole = self._whole.keep(spec.run_id, spec.command_id, folder.path / "whole")
        return self._result(
            ending.status,
            problem=ending.problem,
            exit_code=ending.exit_code,
            head=ending.head,
            tail=ending.tail,
            omitted_bytes=ending.omitted_bytes,
            duration=ending.duration,
            sandbox=ending.sandbox,
            whole=whole,
        )

    def _result(
        self,
        status: Status,
        *,
        problem: str | None = None,
        exit_code: int | None = None,
        head: bytes = b"",
        tail: bytes = b"",
        omitted_bytes: int = 0,
        duration: timedelta = timedelta(0),
        sandbox: str = "none",
        whole: str = "",
    ) -> CommandResult:
        output, omitted_bytes = present(head, tail, omitted_bytes, self._mask)
        if problem is not None:
            output = self._mask(problem) + (f"\n{output}" if output else "")
        return CommandResult(
            status=status,
            exit_code=exit_code,
            output=output,
            omitted_bytes=omitted_bytes,
            duration=duration,
            sandbox=sandbox,
            whole=whole,
        )


def _refuse_settled(folder: CommandFolder, spec: CommandSpec) -> None:
    if not folder.path.exists():
        raise Superseded(f"command {spec.command_id} was settled by another process")
