"""The ``search`` tool: lines of the repository's files that match a pattern.

A regular expression comes from the model, and some take for ever while holding the interpreter's lock, which would
starve the lease's heartbeat. So anything but a plain string is matched in a process of its own, which has an end.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.ignored import listed_files
from necrocode.coder.tools.text import printable
from necrocode.engine.stop import StopToken

MAX_MATCHES = 100
MAX_RESULT_CHARACTERS = 8_000
LINE_CHARACTERS = 200
#: Longer lines are not matched beyond this.
MATCHED_CHARACTERS = 10_000
TIME_LIMIT = timedelta(seconds=20)

_PLAIN = re.compile(r"[^\\^$.|?*+()\[\]{}]*")


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    #: ``path:line: text``.
    lines: list[str]
    #: True where there is more than was kept.
    more: bool
    #: Files that were too large or not readable.
    skipped: int


def search(root: Path, pattern: str, path: str, stop: StopToken, *, time_limit: timedelta = TIME_LIMIT) -> str:
    """Matches below ``path`` as text for the model. :class:`Refused`: bad pattern, bad path, or too slow."""
    if not pattern:
        raise Refused("the pattern is empty")
    with Beneath(root) as folder:
        start = folder.relative(path)
        if not folder.exists(start):
            raise Refused(f"{start} does not exist")
        if _PLAIN.fullmatch(pattern):
            until = time.monotonic() + time_limit.total_seconds()
            found = find(folder, start, lambda line: pattern in line, stop.check, until, plain=pattern)
        else:
            found = _find_apart(root, pattern, start, stop, time_limit)
    return _told(found, pattern, start)


def find(
    folder: Beneath,
    start: str,
    matches: Callable[[str], object],
    check: Callable[[], None],
    until: float,
    *,
    plain: str | None = None,
) -> Found:
    """Look through the files below ``start``; ``plain`` is a string that every match holds, if that is known.

    ``until`` is on the monotonic clock. :class:`Refused` past it.
    """
    lines: list[str] = []
    size = skipped = 0
    for name in _candidates(folder, start):
        check()
        if time.monotonic() > until:
            raise _too_slow()
        try:
            content, _ = folder.read(name)
        except Refused:
            skipped += 1
            continue
        if b"\0" in content or (plain is not None and plain.encode("utf-8", "replace") not in content):
            continue
        for number, line in enumerate(content.decode("utf-8", "surrogateescape").splitlines(), 1):
            if matches(line[:MATCHED_CHARACTERS]):
                if len(lines) == MAX_MATCHES or size > MAX_RESULT_CHARACTERS:
                    return Found(lines, True, skipped)
                lines.append(printable(f"{name}:{number}: {line.strip()[:LINE_CHARACTERS]}"))
                size += len(lines[-1])
    return Found(lines, False, skipped)


def main() -> None:
    """The process apart: a request on stdin, the result on stdout, both JSON."""
    request = json.load(sys.stdin)
    # the default action ends the process even in the middle of a match, and also when nobody waits for it any more
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(request["seconds"]) + 5)
    try:
        pattern = re.compile(request["pattern"])
        with Beneath(Path(request["root"])) as folder:
            found = find(folder, request["start"], pattern.search, lambda: None, float("inf"))
        answer = asdict(found)
    except re.error as error:
        answer = {"refused": f"the pattern is not a regular expression that Python takes: {error}"}
    except (Refused, RecursionError, OverflowError) as error:
        answer = {"refused": str(error)}
    json.dump(answer, sys.stdout)


def _find_apart(root: Path, pattern: str, start: str, stop: StopToken, time_limit: timedelta) -> Found:
    home = Path(__file__).resolve().parents[3]
    program = f"import sys; sys.path.insert(0, sys.argv[1]); from {__name__} import main; main()"
    command = [sys.executable, "-I", "-W", "ignore", "-c", program, str(home)]
    seconds = time_limit.total_seconds()
    request = json.dumps({"root": str(root), "pattern": pattern, "start": start, "seconds": seconds})
    until = time.monotonic() + seconds
    # no secrets for it; some builds of Python do not start without this one
    env = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    with subprocess.Popen(
        command, cwd="/", env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            answer = _wait(child, request, stop, until)
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        raise Refused("the search failed; try a simpler pattern")
    document = json.loads(answer)
    if "refused" in document:
        raise Refused(document["refused"])
    return Found(**document)


def _wait(child: subprocess.Popen[str], request: str, stop: StopToken, until: float) -> str:
    given: str | None = request
    while True:
        try:
            return child.communicate(given, timeout=0.1)[0]
        except subprocess.TimeoutExpired:
            given = None
            stop.check()
            if time.monotonic() > until:
                raise _too_slow() from None


def _candidates(folder: Beneath, start: str) -> list[str]:
    try:
        return [name for name, _ in listed_files(folder, start)]
    except Refused:
        return [start]  # a file


def _too_slow() -> Refused:
    return Refused("the search took too long; use a simpler pattern or a narrower path")


def _told(found: Found, pattern: str, start: str) -> str:
    where = "" if start == "." else f" in {start}"
    if not found.lines:
        return f"No line matches {pattern!r}{where}." + _skipped(found)
    more = f"\n… there are more than these {len(found.lines)}; narrow the pattern or the path" if found.more else ""
    return "\n".join(found.lines) + more + _skipped(found)


def _skipped(found: Found) -> str:
    return f"\n({found.skipped} files were too large or not readable)" if found.skipped else ""
