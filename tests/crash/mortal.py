"""Runs the necrocode command in a process that ends itself with SIGKILL, or stops with SIGSTOP, at a chosen point.

``python mortal.py NOTE POINT NUMBER ARGUMENT…`` where POINT is

- ``before-entry``: just before the NUMBER-th commit that holds journal entries;
- ``after-entry``: right after that commit, at the next thing that Python does;
- ``before-named``, ``after-named``: the same at the first commit that holds the entry NUMBER (words: its kind, state
  and name);
- ``seam``: before the NUMBER-th thing that reaches outside of the process (a transaction's begin or commit, a file
  made, written, renamed or removed, a process started, a connection made);
- ``stop``: not its end: SIGSTOP. NUMBER is ``ENTRY/SEAM``, such as ``intent pushing git.push/spawn``: at the first
  such seam after the commit of such an entry;
- ``fail``: not its end either: from the first such seam on, what is done to that place fails with an I/O error (EIO).
  NUMBER is as for ``stop``, but ``SEAM`` is a part of the place's name;
- ``never``: count only.

``python mortal.py --nursery`` imports what the command would import, and then forks a process for each line of its
stdin: most of a short life would be imports. A line is a JSON object, and so is the answer to it:
``{"mortal", "arguments", "environment", "folder", "out", "err", "namespaces"}`` → ``{"pid"}``, ``{"reap": PID}`` →
``{"code"}``. One that is not mortal is given the command's own arguments, and nothing looks on. When its stdin ends,
the processes that were not reaped are killed.

Nothing of necrocode's is changed for it: file and process seams are Python's audit events, those of the databases are
SQLite's trace of statements. NOTE gets one JSON line: where it died, or the counts at the end. Standard library only,
and started by its path, so that nothing is imported that the command itself would not import.
"""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import json
import os
import pkgutil
import re
import runpy
import signal
import sqlite3.dbapi2
import sys
import threading
from _thread import get_ident
from collections.abc import Callable
from contextlib import closing
from typing import Any, NoReturn

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = {
    "os.rename": "rename",
    "os.mkdir": "mkdir",
    "os.remove": "remove",
    "os.rmdir": "remove",
    "os.link": "link",
    "os.symlink": "link",
    "os.truncate": "write",
    "os.chmod": "chmod",
    "os.utime": "chmod",
    "subprocess.Popen": "spawn",
    "os.posix_spawn": "spawn",
    "os.fork": "spawn",
    "os.kill": "kill",
    "fcntl.flock": "lock",
    "socket.connect": "connect",
}
#: The 256 folders of an object store, one of which stands for all.
_FANOUT = re.compile(r"/objects/(?!7f)[0-9a-f]{2}$")
_ENTRY = re.compile(r"INSERT INTO entries .*?(?:SELECT|VALUES ?\() ?'[^']*',\d+,'(\w+)','(\w+)','([^']*)'", re.DOTALL)


class Death:
    """Counts what happens, and ends the process where it was told to."""

    def __init__(self, note: str, point: str, number: str) -> None:
        self._note = note
        self._point = point
        self._name = number
        self._number = int(number) if number.isdigit() else 0
        self._stop_entry, _, self._stop_seam = number.partition("/")
        #: Whether that entry was committed.
        self._stopping = False
        #: The databases that were opened.
        self.databases: set[str] = set()
        self._commits = 0
        self._seams = 0
        self._entry = ""
        #: The thread that is to die at the next thing it does; 0 for none. Another one's next thing may come before the
        #: commit is done.
        self._armed = 0
        self._dying = False

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of the interpreter."""
        if self._armed == get_ident():
            self._die("after-entry", self._entry)
        if event == "open":
            path, _, flags = arguments
            if (
                isinstance(flags, int)
                and flags & _WRITING
                and not str(path).endswith(".pyc")
                and "pycache" not in str(path)
            ):
                self._seam("open", str(path))
        elif event in _EVENTS and not _FANOUT.search(str(arguments[0])):
            self._seam(_EVENTS[event], str(arguments[0])[:200])

    def on_statement(self, database: str, waiting: list[str], sql: str) -> None:
        """A statement that a connection to ``database`` is about to run; ``waiting``: entries of its transaction."""
        if self._armed == get_ident():
            self._die("after-entry", self._entry)
        found = _ENTRY.match(sql)
        if found:
            waiting.append(" ".join(found.groups()))
        elif sql.startswith("BEGIN IMMEDIATE"):
            waiting.clear()
            self._seam("begin", database)
        elif sql.startswith("COMMIT"):
            self._seam("commit", database)
            if waiting:
                self._commit(", ".join(waiting))
                waiting.clear()

    def ended(self) -> None:
        """Nothing killed the process."""
        self._write({"commits": self._commits, "seams": self._seams})

    def _commit(self, entry: str) -> None:
        self._commits += 1
        self._entry = entry
        if self._point in ("stop", "fail"):
            self._stopping = self._stopping or self._stop_entry in entry
        if self._point.endswith("-named"):
            found = self._name in entry.split(", ")
            if found and self._point == "before-named":
                self._die("before-entry", entry)
            self._armed = get_ident() if found else 0
            return
        if self._commits != self._number:
            return
        if self._point == "before-entry":
            self._die("before-entry", entry)
        self._armed = get_ident() if self._point == "after-entry" else 0

    def _seam(self, what: str, detail: str) -> None:
        self._seams += 1
        if self._point == "seam" and self._seams == self._number:
            self._die(f"seam {what}", detail)
        if self._point == "fail" and self._stopping and self._stop_seam in detail:
            raise OSError(errno.EIO, os.strerror(errno.EIO), detail)
        if self._point == "stop" and self._stopping and f"{what} {detail}".startswith(self._stop_seam):
            self._stopping, self._point = False, "never"
            self._stop(f"stop {what}", detail)

    def _stop(self, kind: str, detail: str) -> None:
        self._write({"kind": kind, "detail": detail, "last_entry": self._entry})
        for path in self.databases:
            # Stopped while another of its threads writes, it would keep everybody from writing.
            with closing(_connect(path, timeout=60, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        os.kill(os.getpid(), signal.SIGSTOP)

    def _die(self, kind: str, detail: str) -> NoReturn:
        if not self._dying:
            self._dying = True
            self._write({"kind": kind, "detail": detail, "last_entry": self._entry})
        while True:
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, words: dict[str, Any]) -> None:
        self._armed = 0
        # not open(): that would be an event again
        descriptor = _open(self._note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, json.dumps(words).encode())


def _open(path: str, flags: int, mode: int) -> int:
    global _silent
    _silent = True
    try:
        return os.open(path, flags, mode)
    finally:
        _silent = False


_silent = False
_connect = sqlite3.dbapi2.connect


def live(note: str, point: str, number: str, *arguments: str) -> None:
    """Run the command, and die as told."""
    death = Death(note, point, number)

    def traced(database: Any, *rest: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = _connect(database, *rest, **named)
        death.databases.add(str(database))
        name, waiting = os.path.basename(str(database)), list[str]()  # noqa: PTH119
        connection.set_trace_callback(lambda sql: death.on_statement(name, waiting, sql))
        return connection

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not _silent:
            death.on_event(event, arguments)

    # the standard library's own door, which necrocode's connections come through as everybody's do
    sqlite3.dbapi2.connect = sqlite3.connect = traced  # type: ignore[assignment]
    sys.addaudithook(hook)
    try:
        run(*arguments)
    finally:
        death.ended()


def run(*arguments: str) -> None:
    """Run the command."""
    sys.argv = ["necrocode", *arguments]
    runpy.run_module("necrocode", run_name="__main__")


def nurse() -> None:
    """Fork a process for each line of stdin. In such a process, this is what runs the command."""
    _import_everything()
    gc.freeze()
    living = set[int]()
    for line in sys.stdin:
        asked = json.loads(line)
        if "reap" in asked:
            _, status = os.waitpid(asked["reap"], 0)
            living.remove(asked["reap"])
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                _begin(asked)
                return _leave(live if asked["mortal"] else run, asked["arguments"])
            living.add(pid)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in living:
        os.kill(pid, signal.SIGKILL)
    return None


def _leave(command: Callable[..., None], arguments: list[str]) -> None:
    """Run the command, and end as the interpreter would, but leave what was imported as it is: to take that apart would
    copy most of the nursery's memory.
    """
    code: Any = None
    try:
        command(*arguments)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((code or 0) & 0xFF)


def _begin(asked: dict[str, Any]) -> None:
    """Make a forked process one of its own: session, environment, standard streams, namespaces, folder."""
    os.setsid()
    os.environ.clear()
    os.environ.update(asked["environment"])
    for descriptor, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, asked["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, asked["err"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0)
    for namespace in asked["namespaces"]:
        _enter(namespace)
    os.chdir(asked["folder"])


def _enter(namespace: str) -> None:
    """Enter a namespace of another process's (``/proc/PID/ns/…``)."""
    # there is no os.setns before Python 3.12
    import ctypes

    opened = os.open(namespace, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(opened, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), namespace)
    os.close(opened)


def _import_everything() -> None:
    import necrocode

    for module in pkgutil.walk_packages(necrocode.__path__, "necrocode."):
        if not module.name.endswith("__main__") and ".versions." not in module.name:
            importlib.import_module(module.name)
    for name in _LATER:
        importlib.import_module(name)


_LATER = (
    "alembic.config",
    "alembic.script",
    "httpcore2",
    "httpx",
    "httpx2",
    "openai.resources.chat.completions",
    "pathspec",
    "rich.table",
    "truststore",
)
"""What necrocode imports only where it needs it."""


def main() -> None:
    """Run the command of the arguments, or be a nursery."""
    # the folder of this script is no place to import from
    del sys.path[0]
    if sys.argv[1:] == ["--nursery"]:
        nurse()
    else:
        live(*sys.argv[1:])


if __name__ == "__main__":
    main()
