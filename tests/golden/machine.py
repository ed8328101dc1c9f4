"""Runs the necrocode command as on a machine called ``golden``, so that what is recorded names no other.

``python machine.py ARGUMENT…`` where the arguments are those of ``tests/crash/mortal.py``.
"""

from __future__ import annotations

import runpy
import socket
import sys
from pathlib import Path

HOST = "golden"


def main() -> None:
    """Be that machine, and run the command."""
    # the standard library's door, as mortal.py has them; nothing of necrocode's is changed
    socket.gethostname = lambda: HOST
    mortal = Path(__file__).parents[1] / "crash" / "mortal.py"
    sys.argv[0] = str(mortal)
    runpy.run_path(str(mortal), run_name="__main__")


if __name__ == "__main__":
    main()
