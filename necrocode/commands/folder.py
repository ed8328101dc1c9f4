"""The folder of one command: its request, its claim, its output and its result."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import select
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from necrocode.commands.files import ENDING_BYTES, VERSION, take_claim
from necrocode.commands.leftovers import kill_command
from necrocode.engine.errors import Superseded
from necrocode.engine.identity import ProcessIdentity

_TRASH = ".trash-"
DRAFT = ".new-"

ABANDONED = timedelta(minutes=10)
"""A folder that is still being made is a dead process's after this: it takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a keeper wrote at the end of its command."""

    status: Literal["exited", "timeout", "stopped", "interrupted", "not_started"]
    exit_code: int | None
    duration: timedelta
    head: bytes
    tail: bytes
    omitted_bytes: int
    #: Why it was not started, if it wasn't.
    problem: str | None
    sandbox: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Who decides about a command."""

    #: ``keeper`` (it runs or ran), ``recovery`` or ``runner`` (it never will).
    by: str
    run_id: str
    command_id: str
    process: ProcessIdentity
    #: Pid and start time of the command's first process, if it has one.
    started: tuple[int, int] | None = None

    @property
    def this_boot(self) -> bool:
        """Whether it was made since this machine started."""
        return self.process.boot_id == ProcessIdentity.current().boot_id


class CommandFolder:
    """One command's folder under ``commands_dir``; ``scope`` marks the processes of this ``commands_dir``."""

    def __init__(self, path: Path, scope: str) -> None:
        self.path = path
        self._scope = scope

    @classmethod
    def of(cls, commands_dir: Path, command_id: str, scope: str) -> CommandFolder:
        """The folder of ``command_id``, whether it exists or not."""
        return cls(commands_dir / folder_name(command_id), scope)

    @classmethod
    def all_in(cls, commands_dir: Path, scope: str) -> Iterator[CommandFolder]:
        """Every command's folder that exists."""
        try:
            names = sorted(path.name for path in commands_dir.iterdir() if path.is_dir() and path.name[0] != ".")
        except FileNotFoundError:
            return
        for name in names:
            yield cls(commands_dir / name, scope)

    # -- before the start --

    def write_request(self, request: Mapping[str, Any], *, folders: Sequence[str] = ()) -> None:
        """What the keeper is to run, and empty ``folders`` for it; nothing if the folder is there.

        Raises :class:`Superseded` if whoever drives the run now has cleared it away meanwhile.
        """

        def fill(draft: Path) -> None:
            for name in folders:
                (draft / name).mkdir(mode=0o700)
            descriptor = os.open(draft / "request.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps({"version": VERSION, **request}).encode())

        self._appear(str(request["run_id"]), fill)

    def take_claim(self, by: str, *, run_id: str, command_id: str) -> bool:
        """Make sure that no keeper will ever start it; False if somebody else has the claim already."""
        content: dict[str, Any] = {"version": VERSION, "by": by, "run_id": run_id, "command_id": command_id}
        content["process"] = ProcessIdentity.current().to_json()

        def claim(folder: Path) -> bool:
            descriptor = take_claim(str(folder), content)
            if descriptor is not None:
                os.close(descriptor)
            return descriptor is not None

        while True:
            try:
                return claim(self.path)
            except FileNotFoundError:
                if self._appear(run_id, claim):
                    return True

    def _appear(self, run_id: str, fill: Callable[[Path], object]) -> bool:
        """Make the folder, readable to its owner only, with what ``fill`` writes; False if there is one already.

        It is there with all of it or not at all, and until then its name says whose it is: a death leaves nothing that
        the run's clearing up does not find.
        """
        draft = self.path.with_name(f"{DRAFT}{folder_name(run_id)}-{uuid.uuid4().hex}")
        draft.mkdir(mode=0o700)
        try:
            fill(draft)
            draft.rename(self.path)
        except FileNotFoundError as error:
            raise Superseded(f"run {run_id} was settled by another process") from error
        except OSError as error:
            _remove_tree(draft)
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    # -- what is known --

    def claim(self) -> Claim | None:
        """Who has the claim, if anybody."""
        content = self._json("claim")
        if content is None:
            return None
        return Claim(
            by=content["by"],
            run_id=content["run_id"],
            command_id=content["command_id"],
            process=ProcessIdentity.from_json(content["process"]),
            started=tuple(content["started"]) if "started" in content else None,
        )

    def owner(self) -> tuple[str, str] | None:
        """Run id and command id, as the claim or the request says; None if neither is there."""
        content = self._json("claim") or self._json("request.json")
        return None if content is None else (content["run_id"], content["command_id"])

    def keeper_lives(self) -> bool:
        """Whether the claim's lock is held, which only a living keeper does. True from any PID namespace."""
        try:
            descriptor = os.open(self.path / "claim", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def ending(self) -> Ending | None:
        """What the keeper wrote at the end, if it is there and of this boot.

        After a power cut the files that the command wrote in the slot may be lost although the result is not.
        """
        try:
            content = (self.path / "result").read_bytes()
        except FileNotFoundError:
            return None
        result, output = json.loads(content[:ENDING_BYTES]), content[ENDING_BYTES:]
        if result["boot_id"] != ProcessIdentity.current().boot_id:
            return None
        head, tail = int(result["head_bytes"]), int(result["tail_bytes"])
        return Ending(
            status=result["status"],
            exit_code=result["exit_code"],
            duration=timedelta(seconds=result["duration"]),
            head=output[:head],
            tail=output[head : head + tail],
            omitted_bytes=result["omitted_bytes"],
            problem=result["problem"],
            sandbox=result["sandbox"],
        )

    def partial_output(self) -> bytes:
        """The output written so far: until the end, the head only."""
        for name in ("output", "result"):
            with suppress(FileNotFoundError):
                # behind it is the space that was set aside for the rest
                return (self.path / name).read_bytes()[ENDING_BYTES:].rstrip(b"\0")
        return b""

    def error(self) -> OSError | None:
        """What a keeper died of, if one could still say so."""
        told = self._json("error")
        return None if told is None else OSError(told["errno"], told["words"])

    # -- the end --

    def wait(self, claim: Claim, timeout: timedelta) -> None:
        """Wait for the end of the keeper, up to ``timeout``."""
        seconds = timeout.total_seconds()
        if claim.process.is_alive():
            try:
                descriptor = os.pidfd_open(claim.process.pid)
            except OSError:  # gone meanwhile, or a kernel without pidfds
                seconds = min(seconds, 0.01)
            else:
                try:
                    poller = select.poll()
                    poller.register(descriptor, select.POLLIN)
                    poller.poll(seconds * 1000)
                finally:
                    os.close(descriptor)
                return
        # in another PID namespace there is nothing to wait on but the lock
        time.sleep(min(seconds, 0.02))

    def ask_to_stop(self, claim: Claim) -> None:
        """Have the keeper kill the command and write its result."""
        alive = claim.process.is_alive()
        if alive is None:
            (self.path / "stop").touch()
        elif alive:
            try:
                descriptor = os.pidfd_open(claim.process.pid)
            except ProcessLookupError:
                return
            try:
                if claim.process.is_alive():
                    signal.pidfd_send_signal(descriptor, signal.SIGUSR1)
            except ProcessLookupError:
                return
            finally:
                os.close(descriptor)

    def stop(self, claim: Claim, patience: timedelta) -> None:
        """End the command and its keeper: asked, and killed if that did not help within ``patience``."""
        self.ask_to_stop(claim)
        until = time.monotonic() + patience.total_seconds()
        while self.keeper_lives():
            if time.monotonic() >= until:
                claim.process.kill(timedelta(seconds=10))
                break
            self.wait(claim, timedelta(milliseconds=20))
        self.kill_leftovers(claim.command_id)

    def kill_leftovers(self, command_id: str) -> int:
        """SIGKILL to every process that the command left; returns how many there were."""
        claim = self.claim()
        here = ProcessIdentity.current()
        reachable = claim is not None and claim.this_boot and claim.process.pid_namespace == here.pid_namespace
        return kill_command(command_id, self._scope, claim.started if claim is not None and reachable else None)

    def remove(self, by: Callable[[str], bool] = lambda _: False) -> None:
        """Remove the folder and all in it. It vanishes at once: a late keeper finds no place to put a claim.

        ``by`` may take on the rest, of which it is told the name below ``commands_dir``.
        """
        trash = self.path.with_name(f"{_TRASH}{uuid.uuid4().hex}")
        try:
            self.path.rename(trash)
        except FileNotFoundError:
            return
        if not by(trash.name):
            _remove_tree(trash)

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        assert isinstance(value, dict)
        return value


def runs_with_commands(commands_dir: Path) -> list[str]:
    """The runs that have commands on disk, ended or not, sorted; none if there is no such folder."""
    owners = [folder.owner() for folder in CommandFolder.all_in(commands_dir, scope="")]
    return sorted({owner[0] for owner in owners if owner is not None})


def clear_drafts(commands_dir: Path, run_id: str) -> None:
    """Remove the folders that dying processes of a run were making."""
    for path in commands_dir.glob(f"{DRAFT}{folder_name(run_id)}-*"):
        _remove_tree(path)


def litter(commands_dir: Path) -> list[Path]:
    """What dying processes left that belongs to no run: removals half done, and folders that never came to be."""
    before = time.time() - ABANDONED.total_seconds()
    found = []
    for path in sorted(commands_dir.iterdir()):
        # another process may be clearing up, too
        with suppress(FileNotFoundError):
            if path.name.startswith(_TRASH) or (path.name.startswith(DRAFT) and path.lstat().st_mtime < before):
                found.append(path)
    return found


def clear_litter(commands_dir: Path) -> None:
    """Remove :func:`litter`."""
    for path in litter(commands_dir):
        _remove_tree(path)


def folder_name(command_id: str) -> str:
    """``command_id`` as a name that is safe as one path component and differs from every other id's."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", command_id):
        return command_id
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", command_id)[:60].strip("-") or "x"
    # '+' is in no plain id, so a made name never equals one
    return f"{slug}+{hashlib.sha256(command_id.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    # package caches make their folders read-only
    path.chmod(0o700)
    for folder, names, _ in os.walk(path):
        for below in (Path(folder, name) for name in names):
            if not below.is_symlink():
                below.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
