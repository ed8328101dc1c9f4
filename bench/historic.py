"""Real fixes of real packages, played by a scripted model through the whole of the real command.

A recipe (``bench/packages/NAME.json``) says which release of a package has a bug, and quotes the edits that mended it
in the next one: first those of its tests, then those of its code. The package itself comes from the package index.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.sdists import fetch
from necrocode.demo.stage import git
from necrocode.scripted.server import ScriptedServer
from tests.e2e.stage import KEY, Stage, calls, script

FOLDER = Path(__file__).parent / "packages"
_IGNORED = "__pycache__/\n*.egg-info/\n.hypothesis/\n.pytest_cache/\n"
#: Of the package's tests: our own plugins for pytest would take longer to load than most of them to run.
_ENVIRONMENT: Mapping[str, str] = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_PATIENCE = 300.0


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Edit(_Strict):
    """A call of ``edit_file``."""

    path: str
    old_text: str
    new_text: str


class Search(_Strict):
    """A call of ``search``."""

    pattern: str
    path: str


class Recipe(_Strict):
    """One historic fix."""

    package: str
    #: The release that has the bug, and the one that mends it.
    version: str
    fixed_in: str
    #: Of the package, whose lines the edits quote.
    licence: str
    #: Where the fix and its test are told.
    source: str
    title: str
    description: str
    #: Runs the package's own tests, at the root of its sources.
    test_command: str
    #: Which of its tests are not run, and why.
    left_out: str = ""
    search: Search
    regression: tuple[Edit, ...]
    fix: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fix."""

    exit_code: int
    #: What the command said, for whoever asks why.
    said: str
    #: Answers of the model.
    turns: int
    #: Of the run alone; fetching the package and the last look at it come on top.
    seconds: float
    #: Exit codes of the package's tests as the model ran them: with the new test, and with the fix.
    tested: tuple[int, ...]
    #: Commits on the pushed branch that the default branch does not have; 0 where none was pushed.
    commits: int
    #: Of the package's own tests, in a fresh clone of the pushed branch; ``None`` if they failed there.
    passed: int | None

    @property
    def good(self) -> bool:
        """Whether the new test failed, the fix mended it, and the branch holds both."""
        mended = len(self.tested) == 2 and self.tested[0] == 1 and self.tested[1] == 0
        return self.exit_code == 0 and mended and self.commits == 1 and self.passed is not None


def recipes(names: Sequence[str] = ()) -> Iterator[Recipe]:
    """The recipes of these packages, or of all."""
    for name in names or sorted(path.stem for path in FOLDER.glob("*.json")):
        yield Recipe.model_validate_json((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def play(recipe: Recipe, root: Path, *, afresh: bool) -> Outcome:
    """Fetch the package, let the model mend it, and look at what was pushed; all below ``root``.

    ``afresh``: the command gets an interpreter of its own. Raises :class:`bench.sdists.NoIndex`, and ``RuntimeError``
    if the package cannot be had; ``AssertionError`` if the run left something behind.
    """
    stage = Stage(root, afresh=afresh)
    stage.environment["PATH"] = search_path()
    _make_remote(stage, fetch(recipe.package, recipe.version, root / "sources"))
    task = stage.task(
        spec_name="historic",
        task_id=recipe.package,
        title=recipe.title,
        description=recipe.description,
        test_commands=[recipe.test_command],
        env=_ENVIRONMENT,
    )
    with ScriptedServer(script(*_answers(recipe), key=KEY)) as model:
        stage.use(model)
        began = time.monotonic()
        done = stage.finish(stage.start("run", task), timeout=_PATIENCE)
        seconds = time.monotonic() - began
        turns = len(model.answered)
    stage.left_nothing()
    tested = tuple(
        int(payload["result"]["exit_code"])
        for entry, payload in stage.entries()
        if (entry.kind, entry.name) == ("outcome", "tool.bash")
    )
    branch = f"feature/task-historic-{recipe.package}"
    commits, passed = 0, None
    if branch in stage.branches():
        commits = int(git(stage.remote, "rev-list", "--count", f"main..{branch}"))
        passed = _passed(recipe, stage, branch)
    return Outcome(done.code, done.out + done.err, turns, seconds, tested, commits, passed)


def search_path() -> str:
    """A PATH on which ``python`` is this interpreter, and where a sandbox finds the folder that pytest is in."""
    folders = [str(Path(sys.executable).parent)]
    package = find_spec("pytest")
    assert package is not None and package.origin is not None
    if not Path(package.origin).is_relative_to(sys.prefix):
        # an environment that borrows another one's packages
        folders += [str(parent / "bin") for parent in Path(package.origin).parents if (parent / "pyvenv.cfg").exists()]
    return ":".join([*folders, os.environ["PATH"]])


def _make_remote(stage: Stage, sources: Path) -> None:
    # source distributions leave it out
    with (sources / ".gitignore").open("a", encoding="utf-8") as file:
        file.write(_IGNORED)
    git(sources, "init", "--quiet", "--initial-branch=main")
    git(sources, "add", "--all", "--force")
    git(sources, "commit", "--quiet", "--no-gpg-sign", "-m", "The release")
    git(sources, "clone", "--quiet", "--bare", str(sources), str(stage.remote))


def _answers(recipe: Recipe) -> list[dict[str, Any]]:
    run = {"command": recipe.test_command, "timeout_seconds": 120}
    return [
        calls(("search", recipe.search.model_dump()), text="I look for the place."),
        calls(("read_file", {"path": recipe.fix[0].path})),
        *(calls(("edit_file", edit.model_dump()), text="First a test that shows it.") for edit in recipe.regression),
        calls(("bash", run), text="It has to fail."),
        *(calls(("edit_file", edit.model_dump())) for edit in recipe.fix),
        calls(("bash", run), text="And now pass."),
        calls(("finish", {"summary": recipe.title})),
    ]


def _passed(recipe: Recipe, stage: Stage, branch: str) -> int | None:
    clone = stage.root / "clone"
    git(stage.root, "clone", "--quiet", "--branch", branch, str(stage.remote), str(clone))
    done = subprocess.run(
        recipe.test_command,
        shell=True,
        cwd=clone,
        env=stage.env(**_ENVIRONMENT),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    # some configure their colours
    found = re.search(r"\b(\d+) passed", re.sub(r"\x1b\[[\d;]*m", "", done.stdout))
    return int(found[1]) if done.returncode == 0 and found else None
