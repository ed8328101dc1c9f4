"""Historic fixes of real packages through the whole command: ``python -m bench.real_packages``.

Each package's sources come from the package index. A scripted model plays the fix that its authors made; what is tried
is that the command brings it to a pushed branch on which the package's own tests pass.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from bench.historic import play, recipes


def main() -> int:
    """Play them and print a table; 0 if every one was mended."""
    parser = argparse.ArgumentParser(prog="python -m bench.real_packages", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="these packages (default: all)")
    parser.add_argument("--keep", type=Path, help="folder to work in, and to keep")
    options = parser.parse_args()
    table = Table(title="historic fixes of real packages")
    for column in ("package", "version", "fixed in", "turns", "seconds", "tests passed", "exit code", "mended"):
        table.add_column(column, justify="left" if column == "package" else "right")
    console, good = Console(width=120), True
    with TemporaryDirectory(prefix="necrocode-real-") if options.keep is None else nullcontext(options.keep) as folder:
        for recipe in recipes(options.only):
            root = Path(folder, recipe.package)
            root.mkdir(parents=True)
            outcome = play(recipe, root, afresh=True)
            good &= outcome.good
            if not outcome.good:
                console.print(f"{recipe.package}: {outcome}", markup=False)
            row = (recipe.package, recipe.version, recipe.fixed_in, outcome.turns, f"{outcome.seconds:.1f}")
            ended = ("none" if outcome.passed is None else outcome.passed, outcome.exit_code, outcome.good)
            table.add_row(*map(str, (*row, *ended)))
    console.print(table)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
