"""What is in a bare repository, asked with the git command."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path


def complaints(repository: Path) -> list[str]:
    """What ``git fsck`` finds; objects that nothing names are none of its business."""
    done = _git(repository, "fsck", "--full", "--no-dangling", "--no-progress")
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("notice:")]
    return lines or ([f"git fsck: exit code {done.returncode}"] if done.returncode else [])


def commit(repository: Path, name: str) -> tuple[list[str], str]:
    """Parents and tree of a commit."""
    parents, tree = _git(repository, "show", "--no-patch", "--format=%P%n%T", name).stdout.splitlines()
    return parents.split(), tree


def content(repository: Path, name: str, path: str) -> str | None:
    """A file of a commit; ``None`` if it has none of that name."""
    done = _git(repository, "show", f"{name}:{path}")
    return done.stdout if done.returncode == 0 else None


def names(repository: Path, name: str) -> set[str]:
    """The files of a commit."""
    return set(_git(repository, "ls-tree", "-r", "--name-only", name).stdout.splitlines())


def present(repository: Path, names: Collection[str]) -> set[str]:
    """Those of ``names`` that are objects of the repository."""
    done = _git(repository, "cat-file", "--batch-check", stdin="".join(f"{name}\n" for name in sorted(names)))
    return {line.split()[0] for line in done.stdout.splitlines() if not line.endswith("missing")}


def _git(repository: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "-c", "safe.bareRepository=all", "-c", "safe.directory=*", f"--git-dir={repository}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
