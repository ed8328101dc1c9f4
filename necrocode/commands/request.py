"""The request for one command: what its keeper is to execute, how confined and within which limits."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from necrocode.commands import landlock
from necrocode.commands.bubblewrap import LOOPBACK_HOSTS, Bubblewrap, script
from necrocode.commands.egress import INNER_PORT, variables
from necrocode.commands.environment import clean_environment
from necrocode.commands.etc import etc_copy
from necrocode.commands.fallback import LandlockPlaces
from necrocode.commands.folder import CommandFolder
from necrocode.commands.hosts import split
from necrocode.commands.limits import CommandLimits
from necrocode.commands.sandbox import SandboxReport, shell, unenforced
from necrocode.commands.submodules import submodule_places
from necrocode.commands.toolroots import etc_paths
from necrocode.commands.whole import COMMAND_BYTES
from necrocode.engine.errors import EnvironmentFault
from necrocode.states.ports import CommandSpec

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
HOME, TEMPORARY = "home", "tmp"
"""The folders that a command gets in its own one, where the sandbox has none for it."""
COMMAND_BYTES_AT_MOST = (1 << 17) - 1
"""What Linux takes as one argument of a program (MAX_ARG_STRLEN, its NUL left out)."""


class Requests:
    """Makes the requests for the commands of one ``commands_dir``; parameters as those of the runner of commands."""

    def __init__(
        self,
        commands_dir: Path,
        scope: str,
        *,
        limits: CommandLimits,
        mask: Callable[[str], str],
        secret_names: Collection[str],
        hidden: Sequence[Path],
        read_only_paths: Callable[[Path], Sequence[Path]],
    ) -> None:
        self._dir = commands_dir
        self._scope = scope
        self._limits = limits
        self._mask = mask
        self._secret_names = secret_names
        self._hidden = hidden
        self._read_only_paths = read_only_paths
        self._executable = ""

    def warm(self, report: SandboxReport) -> None:
        """Do ahead what the first command would wait for."""
        if report.kind == "bubblewrap":
            self._executable = report.executable or ""
            _ = self._bubblewrap
        elif report.kind == "landlock":
            _ = self._landlock

    def of(self, spec: CommandSpec, folder: CommandFolder, report: SandboxReport) -> dict[str, Any] | str:
        """What the keeper is to do; a sentence if it can't be done."""
        slot = Path(os.path.realpath(spec.slot_path))
        cwd = Path(os.path.realpath(slot / spec.cwd))
        if not slot.is_dir():
            return f"the workspace {spec.slot_path} is not there"
        if not cwd.is_relative_to(slot):
            return f"the working directory {spec.cwd} is not inside the workspace"
        if not cwd.is_dir():
            return f"there is no directory {spec.cwd} in the workspace"
        if "\0" in spec.command:
            return "the command holds a NUL character"
        if len(os.fsencode(spec.command)) > COMMAND_BYTES_AT_MOST:
            return f"the command is longer than {COMMAND_BYTES_AT_MOST:,} bytes, which is all that the system takes"
        self.warm(report)
        hosts = [] if isinstance(spec.network, bool) else list(spec.network)
        problem = unenforced(report) if hosts and report.kind != "none" else ""
        if problem:
            raise EnvironmentFault(f"network is a list of hosts, {problem}", stop_reason="sandbox_missing")
        nested = submodule_places(slot)
        # what the command's first process does to itself and executes
        start: dict[str, Any] = {
            "sandbox": report.kind,
            "network": spec.network is True,
            "hosts": hosts,
            "limits": self._limits.to_request(spec.timeout),
        }
        direct = ",".join(name for name in _LOOPBACK if name not in {split(host)[0] for host in hosts})
        request: dict[str, Any] = {
            "command_id": spec.command_id,
            "run_id": spec.run_id,
            "timeout": spec.timeout.total_seconds(),
            "max_output_bytes": spec.max_output_bytes,
            "whole_output_bytes": COMMAND_BYTES,
            "start": start,
            "script": "",
            "direct": direct,
            "disk": {"folder": str(slot), "bytes": self._limits.disk_bytes},
            "git_guard": [],
            "landlock_places": [],
        }
        bash = shell(os.environ)
        argv = [bash, "-c", spec.command]
        if report.kind == "bubblewrap":
            environment = self._environment(spec, self._bubblewrap.home, "/tmp", bash)
            if hosts:
                environment |= variables(INNER_PORT, direct)
            start |= self._bubblewrap.start(spec)
            # by the name that it was asked for: that is mounted, too
            place = Path(os.path.normpath(spec.slot_path)) / spec.cwd
            return request | {"script": script(argv, environment, place), "git_guard": nested}
        home, temporary = folder.path / HOME, folder.path / TEMPORARY
        if report.kind == "none":
            environment = self._environment(spec, str(home), tempfile.gettempdir(), bash)
            start |= {"argv": argv, "env": environment, "cwd": str(cwd)}
            return request
        # git ends when it may not read its system-wide configuration; where it isn't there, it goes on
        environment = {"GIT_CONFIG_NOSYSTEM": "1"} | self._environment(spec, str(home), str(temporary), bash)
        start |= {
            "argv": argv,
            "env": environment,
            "cwd": str(cwd),
            "landlock": self._landlock.of(spec, [home, temporary]),
            "scoped": landlock.abi() >= landlock.SCOPED_ABI,
        }
        return request | {
            "landlock_places": self._landlock.writable(spec, [home, temporary]),
            "git_guard": [f"{slot}/.git", *nested],
        }

    def _environment(self, spec: CommandSpec, home: str, temporary: str, bash: str) -> dict[str, str]:
        return clean_environment(
            spec,
            source=os.environ,
            home=home,
            temporary=temporary,
            shell=bash,
            scope=self._scope,
            secret_names=self._secret_names,
            mask=self._mask,
        )

    @cached_property
    def _bubblewrap(self) -> Bubblewrap:
        return Bubblewrap(
            self._executable,
            source=os.environ,
            hidden=self._hidden,
            read_only_paths=self._read_only_paths,
            empty_file=self._empty_file(),
            etc=etc_copy(self._dir.with_name(f"{self._dir.name}-etc"), etc_paths(), LOOPBACK_HOSTS),
        )

    @cached_property
    def _landlock(self) -> LandlockPlaces:
        return LandlockPlaces(source=os.environ, hidden=self._hidden, read_only_paths=self._read_only_paths)

    def _empty_file(self) -> Path:
        path = self._dir / ".empty"
        # In its place: whoever else makes it now makes the same, and a death leaves no draft.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
        return path
