"""Which sandbox commands get: the best one that works here, found out by using it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from necrocode.commands import landlock, seccomp
from necrocode.commands.bubblewrap import probe_bubblewrap
from necrocode.commands.environment import DEFAULT_PATH, search_path
from necrocode.commands.fallback import probe_landlock

SandboxMode = Literal["auto", "require", "bubblewrap", "landlock", "off"]


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """How commands will be confined, and why so."""

    kind: Literal["bubblewrap", "landlock", "none"]
    #: One sentence for a person; it says what a better sandbox is missing.
    why: str
    #: Path of bubblewrap, where that is used.
    executable: str | None = None


def probe(mode: SandboxMode = "auto") -> SandboxReport:
    """The best sandbox that works and that ``mode`` allows: bubblewrap, else Landlock with seccomp.

    Each is tried once, really, with all that a command gets; remembered for the life of the process.
    """
    if mode == "off":
        return SandboxReport("none", "the sandbox is switched off")
    if sys.platform != "linux":
        return SandboxReport("none", f"the sandbox needs Linux, this is {sys.platform}")
    if not seccomp.machine_known():
        return SandboxReport("none", f"the sandbox needs x86_64 or aarch64, this is {os.uname().machine}")
    missing = "bubblewrap is not wanted"
    if mode != "landlock":
        executable, missing = probe_bubblewrap()
        if executable is not None:
            return SandboxReport("bubblewrap", missing, executable)
        if mode == "bubblewrap":
            return SandboxReport("none", missing)
    works, why = probe_landlock()
    return SandboxReport("landlock", f"{why}; {missing}") if works else SandboxReport("none", f"{missing}; {why}")


def unenforced(report: SandboxReport, landlock_abi: int | None = None) -> str:
    """Why a list of hosts holds nobody under ``report``, on a kernel of that Landlock (this one); empty if it does."""
    version = landlock.abi() if landlock_abi is None else landlock_abi
    if report.kind == "none":
        return "to which programs keep without a sandbox only if they want to"
    if report.kind == "landlock" and version < landlock.NETWORK_ABI:
        known = f"this kernel's Landlock, {version}, is too old (Linux 6.7 has {landlock.NETWORK_ABI})"
        return f"for which {known}: install bubblewrap"
    return ""


def forget_probes() -> None:
    """Have the next :func:`probe` try anew."""
    probe_bubblewrap.cache_clear()
    probe_landlock.cache_clear()


def shell(source: Mapping[str, str]) -> str:
    """Absolute path of bash; of sh, where there is none."""
    return shutil.which("bash", path=DEFAULT_PATH) or shutil.which("bash", path=search_path(source)) or "/bin/sh"
