"""``python -m necrocode.scripted SCRIPT.json --port-file FILE``: the server in a process of its own.

It survives the death of whoever started it, so it looks after itself: it ends at SIGTERM, or after ``--for-seconds``.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path
from types import FrameType

from necrocode.scripted.server import ScriptedServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m necrocode.scripted", description="Play a recorded conversation.")
    parser.add_argument("script", type=Path, help="the script, a JSON file")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--port-file", type=Path, help="file that gets the port's number once the server answers")
    parser.add_argument("--log", type=Path, help="file that gets one JSON line per request")
    parser.add_argument("--for-seconds", type=float, default=900.0, help="longest life (default: 900)")
    options = parser.parse_args(arguments)
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with ScriptedServer(options.script, options.port, log=options.log) as server:
        if options.port_file is not None:
            _publish(options.port_file, str(server.port))
        ended.wait(options.for_seconds)
    return 0


def _publish(path: Path, text: str) -> None:
    # whoever waits for the file must never read half a number
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
