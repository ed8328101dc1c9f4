"""The stage of golden runs: always the same folder, since a journal's hashed entries name paths."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash.nursery import Start, altered
from tests.crash.trial import CrashStage

ROOT = Path("/tmp/necrocode-golden")
RECORDED = Path(__file__).with_name("recorded")
ON_GOLDEN = altered(Path(__file__).with_name("machine.py"))

#: The script's key, and one that is refused.
WRONG_KEY = "key-that-is-refused"


@dataclass
class GoldenStage(CrashStage):
    """A stage on a machine called ``golden``."""

    begin: Start = ON_GOLDEN


@contextmanager
def golden_stage(env: Mapping[str, str]) -> Iterator[GoldenStage]:
    """The folder, empty, and nobody else's until this is left."""
    with ROOT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(ROOT, ignore_errors=True)
        ROOT.mkdir(mode=0o700)
        try:
            # What a command inherits is in its request: no path of this machine's own.
            yield GoldenStage(ROOT, {"PATH": "/usr/local/bin:/usr/bin:/bin", "NECROCODE_SANDBOX": "off", **env})
        finally:
            shutil.rmtree(ROOT, ignore_errors=True)
