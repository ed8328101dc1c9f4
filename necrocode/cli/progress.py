"""What a run shows while it goes: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from necrocode import exits
from necrocode.cli.session import note

if TYPE_CHECKING:
    from rich.status import Status

    from necrocode.coder.settings import ProgressEvent
    from necrocode.engine.entry import Entry
    from necrocode.engine.runs import RunRecord
    from necrocode.runner import Runner


@contextmanager
def display(*, quiet: bool, many: bool) -> Iterator[Display]:
    """Where runs are shown: nowhere if ``quiet``, a live line if stderr is a terminal and there is one run."""
    if quiet:
        yield Display(lambda _: None, None)
        return
    if not sys.stderr.isatty():
        yield Display(lambda line: print(line, file=sys.stderr, flush=True), None)  # noqa: T201
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if many:
        yield Display(lambda line: console.print(line, markup=False, soft_wrap=True), None)
        return
    with console.status("") as status:
        yield Display(lambda line: console.print(line, markup=False, soft_wrap=True), status)


class Display:
    """Prints finished lines, and keeps one moving line up to date where there is one."""

    def __init__(self, print_line: Callable[[str], None], status: Status | None) -> None:
        self.print = print_line
        self.status = status

    def run(self, runner: Runner, run_id: str, *, resumed: bool) -> Watcher:
        """A watcher of one run."""
        return Watcher(self, runner, run_id, resumed=resumed)


class Watcher:
    """Turns what happens to one run into lines. Called from the thread that drives it."""

    def __init__(self, shown: Display, runner: Runner, run_id: str, *, resumed: bool) -> None:
        self._shown = shown
        self._runner = runner
        self._run_id = run_id
        self._began = time.monotonic()
        self._state = ""
        self._step = ""
        self._tokens = ""
        self._ticker = _Ticker(self._refresh) if shown.status is not None else None
        self._say(f"{'resuming' if resumed else 'run'} {run_id}")

    def entry(self, entry: Entry, payload: Mapping[str, Any]) -> None:
        """One entry was committed."""
        if entry.kind == "lease":
            self._enter(entry.state)
        elif entry.kind == "transition":
            self._say(f"{entry.key} → {entry.state}" + (f" ({entry.name})" if entry.name in _NOTEWORTHY else ""))
            self._enter(entry.state)
        elif entry.kind == "warning":
            words = payload.get("message") or payload.get("error") or ""
            self._say(f"warning: {entry.name} {words}".rstrip())
        elif entry.kind == "attempt" and not payload["final"]:
            self._say(f"{entry.name} failed, will be tried again: {payload['error']['message']}")
        elif entry.kind == "intent" and entry.name.startswith("command."):
            self._step = f"$ {payload['note']['command']}"
        elif entry.kind == "outcome" and entry.name.startswith("command."):
            self._command(entry.name, payload.get("result"))
        self._refresh()

    def progress(self, event: ProgressEvent) -> None:
        """The coder begins a step."""
        mask = self._runner.credentials.mask
        self._tokens = f"{event.tokens_in + event.tokens_out:,} tokens"
        cost = f", ${event.cost:.4f}" if event.cost is not None else ""
        self._step = f"turn {event.turn} · {event.doing} {mask(event.detail)}".rstrip()
        if event.doing != "model":
            self._say(f"{self._step} · {self._tokens}{cost}")
        self._refresh()

    def ended(self, run: RunRecord) -> None:
        """The run went as far as it could."""
        self._stop()
        data, code = run.data, exits.exit_code(run)
        if run.status == "closed" and run.state == "completed":
            where = f"pushed {data['branch']}" if data.get("pushed") else "commit kept as an artifact, not pushed"
            self._say(f"completed: {where} at {data['commit'][:12]}")
        elif run.status == "closed":
            self._say(f"{run.state} ({run.stop_reason}): {data.get('error')}")
            if data.get("partial_branch"):
                self._say(
                    f"what there is of the work: pushed {data['partial_branch']} at {data['partial_commit'][:12]}"
                )
        elif run.status == "interrupted":
            self._say(f"interrupted in {run.state}; go on with: necrocode resume {run.run_id}")
        else:
            self._say(f"parked in {run.state} ({run.stop_reason}): {data.get('error')}")
            force = " --force" if run.stop_reason == "poison" else ""
            self._say(f"once that is mended, go on with: necrocode resume {run.run_id}{force}")
        for artifact in data.get("artifacts", []):
            self._say(f"  {artifact['type']}: {artifact['uri']} ({artifact['size_bytes']:,} bytes)")
        self._say(f"exit code {code}; details: necrocode show {run.run_id}")

    def failed(self, message: str) -> None:
        """It could not be driven."""
        self._stop()
        # Also where nothing else is shown.
        note(f"[{self._run_id[-8:]}] error: {message}")

    def _enter(self, state: str) -> None:
        self._state, self._step = state, ""

    def _command(self, name: str, result: Any) -> None:
        if isinstance(result, dict):
            verdict = (
                "passed"
                if result["status"] == "exited" and result["exit_code"] == 0
                else (f"{result['status']} {result['exit_code'] if result['exit_code'] is not None else ''}".rstrip())
            )
            self._say(f"{name.removeprefix('command.')} $ {result['command']}: {verdict} in {result['seconds']:.1f} s")
        self._step = ""

    def _say(self, line: str) -> None:
        self._shown.print(f"[{self._run_id[-8:]}] {line}")

    def _refresh(self) -> None:
        if self._shown.status is None:
            return
        seconds = int(time.monotonic() - self._began)
        parts = [self._state, self._step[:100], self._tokens, f"{seconds // 60}:{seconds % 60:02}"]
        from rich.text import Text

        self._shown.status.update(Text(" · ".join(part for part in parts if part)))

    def _stop(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        if self._shown.status is not None:
            self._shown.status.stop()


_NOTEWORTHY = ("error", "deadline", "budget", "cancel", "rejected", "failed_tests")


class _Ticker:
    """Keeps the elapsed time moving while a long step is under way."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick, args=(refresh,), name="necrocode-ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _tick(self, refresh: Callable[[], None]) -> None:
        while not self._end.wait(1.0):
            refresh()
