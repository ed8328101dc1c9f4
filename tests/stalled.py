"""The tests on a machine that has other things to do: ``python -m tests.stalled [--seed N] [-- ARGUMENTS OF PYTEST]``.

Their processes are stopped at random moments, for up to 0.7 s, as a busy machine would: a test that counts on being
fast enough fails here, and not one day somewhere else.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Seconds between two stops, at least and at most.
BETWEEN = (0.3, 1.2)
#: Seconds that one lasts.
STOPS = (0.1, 0.2, 0.4, 0.7)


def main() -> int:
    """Run pytest; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stalled", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of the moments, as far as they go by chance")
    parser.add_argument("arguments", nargs="*", default=["-n", "auto"], help="of pytest (-n auto)")
    options = parser.parse_args()
    chance, over = random.Random(options.seed), threading.Event()
    with subprocess.Popen([sys.executable, "-m", "pytest", *options.arguments]) as tests:
        stopping = threading.Thread(target=stop_now_and_then, args=(tests.pid, chance, over), daemon=True)
        stopping.start()
        try:
            return tests.wait()
        finally:
            over.set()
            stopping.join()


def stop_now_and_then(pid: int, chance: random.Random, over: threading.Event) -> None:
    """Stop up to three of the processes below ``pid`` at once, again and again."""
    while not over.wait(chance.uniform(*BETWEEN)):
        running = [each for each, state in below(pid) if state not in "TtZ"]
        chosen = chance.sample(running, min(len(running), chance.randint(1, 3)))
        for each in chosen:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGSTOP)
        over.wait(chance.choice(STOPS))
        for each in chosen:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


def below(pid: int) -> Iterator[tuple[int, str]]:
    """The Python processes that ``pid`` has started, and theirs, each with its state."""
    children: dict[int, list[tuple[int, str, str]]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            before, _, after = (place / "stat").read_text().rpartition(")")
            state, parent = after.split()[:2]
            children.setdefault(int(parent), []).append((int(place.name), before.partition("(")[2], state))
    todo = [pid]
    while todo:
        for child, name, state in children.get(todo.pop(), []):
            todo.append(child)
            if name.startswith(("python", "pytest", "necrocode")):
                yield child, state


if __name__ == "__main__":
    sys.exit(main())
