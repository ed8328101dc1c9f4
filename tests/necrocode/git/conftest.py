"""Fixtures: a remote, and workspaces on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from necrocode.git.layout import RemoteUrl, RepoPlace
from necrocode.git.workspace import GitWorkspace, GitWorkspaces
from necrocode.states.ports import SlotAllocation
from tests.memory import tmp_path
from tests.necrocode.git.repositories import Origin, fsck

__all__ = ["bench", "tmp_path"]

FILES: dict[str, str | bytes] = {
    "README.md": "hello\n",
    "src/main.py": "print('hello')\n",
    "src/crlf.txt": b"one\r\ntwo\r\n",
    "src/data.bin": bytes(range(256)),
    ".gitignore": "*.pyc\nbuild/\n",
}


class Bench:
    """A home, a remote and a way to open workspaces on it."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.origin = Origin(root / "remote", FILES)
        self.workspaces = GitWorkspaces(self.home)

    @property
    def place(self) -> RepoPlace:
        """Where the repository is kept."""
        return RepoPlace(self.home.resolve(), RemoteUrl.parse(self.origin.url).key)

    def open(self, run_id: str = "run-1", number: int = 1, workspaces: GitWorkspaces | None = None) -> GitWorkspace:
        """The workspace of a run in a slot of its own."""
        slot = self.place.slot(number)
        slot.mkdir(parents=True, exist_ok=True)
        loan = SlotAllocation(f"slot-{number}", slot / "work", 1)
        return (workspaces or self.workspaces).open(loan, repo_url=self.origin.url, run_id=run_id)

    def slot(self, number: int = 1) -> Path:
        """The working copy of a slot."""
        return self.place.slot(number) / "work"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _whole_stores(tmp_path: Path) -> object:
    """After every test, git itself looks over every store that the test made."""
    yield
    for store in [*tmp_path.glob("**/snapshots.git"), *tmp_path.glob("**/cache.git")]:
        assert fsck(store) == ""
