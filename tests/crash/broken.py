"""Runs the necrocode command with one of its parts replaced by a worse one: ``python broken.py VARIANT ARGUMENT…``.

VARIANT is a function of ``tests.crash.simulation.breaking``, the arguments are those of ``mortal.py``: what the
simulated worlds find must be found of real processes, too.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__)


def main() -> None:
    """Break it, and run the command."""
    variant, *arguments = sys.argv[1:]
    sys.path.insert(1, str(HERE.parents[2]))
    from tests.crash.simulation import breaking

    mortal = HERE.with_name("mortal.py")
    sys.argv = [str(mortal), *arguments]
    with getattr(breaking, variant)():
        runpy.run_path(str(mortal), run_name="__main__")


if __name__ == "__main__":
    main()
