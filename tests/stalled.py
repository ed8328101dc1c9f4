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
from contextlib import suppress
from pathlib import Path

from necrocode.commands.processes import descendants

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
        running = [each for each in descendants(pid) if is_at_work(each)]
        chosen = chance.sample(running, min(len(running), chance.randint(1, 3)))
        for each in chosen:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGSTOP)
        over.wait(chance.choice(STOPS))
        for each in chosen:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


def is_at_work(pid: int) -> bool:
    """Whether it is a process of Python's that is neither stopped nor dead."""
    try:
        before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return False
    return before.partition("(")[2].startswith(("python", "pytest", "necrocode")) and after.split()[0] not in "TtZ"


if __name__ == "__main__":
    sys.exit(main())
