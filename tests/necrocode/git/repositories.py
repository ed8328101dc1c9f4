"""Real repositories for the tests, made with the git command."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from necrocode.git.descriptors import TEMPORARY
from necrocode.git.objects import ObjectStore, make_bare

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "LC_ALL": "C",
}


def git(where: Path, *arguments: str, check: bool = True, stdin: bytes | None = None, **environment: str) -> str:
    """What git prints, run in ``where`` with nobody's settings."""
    result = subprocess.run(
        [
            "git",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "protocol.file.allow=always",
            *arguments,
        ],
        cwd=where,
        env=_ENVIRONMENT | environment,
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if check and result.returncode != 0:
        raise AssertionError(f"git {arguments} in {where}: {result.stderr.decode()}")
    return result.stdout.decode("utf-8", "surrogateescape").strip()


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    """Put files into a folder, directories included."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def commit_all(checkout: Path, message: str = "change") -> str:
    """Commit everything; returns the commit."""
    git(checkout, "add", "-A")
    git(checkout, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(checkout, "rev-parse", "HEAD")


class Origin:
    """A bare remote on disk and a checkout to change it from."""

    def __init__(self, folder: Path, files: dict[str, str | bytes] | None = None, *, branch: str = "main") -> None:
        self.bare = folder / "origin.git"
        self.checkout = folder / "author"
        self.bare.mkdir(parents=True)
        git(self.bare, "init", "--quiet", "--bare", f"--initial-branch={branch}")
        git(folder, "clone", "--quiet", str(self.bare), str(self.checkout))
        git(self.checkout, "checkout", "--quiet", "-B", branch)
        self.branch = branch
        if files is not None:
            self.commit(files)

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self.bare)

    def commit(self, files: dict[str, str | bytes], *, branch: str | None = None, message: str = "change") -> str:
        """Write files, commit and push; returns the commit."""
        write(self.checkout, files)
        made = commit_all(self.checkout, message)
        git(self.checkout, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch or self.branch}")
        return made

    def head(self, branch: str) -> str | None:
        """The commit of a branch on the remote."""
        found = git(self.bare, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", check=False)
        return found or None

    def hook(self, name: str, script: str) -> None:
        """Install a hook in the remote."""
        path = self.bare / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def make_store(folder: Path) -> ObjectStore:
    """A store of its own."""
    make_bare(folder, alternates=None)
    return ObjectStore(folder)


def picture(folder: Path, *, without: frozenset[str] = frozenset({".git"})) -> dict[bytes, tuple[str, bytes]]:
    """Every file below ``folder`` by its path: kind and content, as bytes lie on disk; no ``.git`` at any level."""
    found: dict[bytes, tuple[str, bytes]] = {}
    top = os.fsencode(folder)
    for where, directories, files in os.walk(top):
        directories[:] = [name for name in directories if os.fsdecode(name) not in without]
        for name in [*files, *directories]:
            path = os.path.join(where, name)  # noqa: PTH118
            if os.fsdecode(name) in without:
                continue
            state = os.lstat(path)
            assert not os.fsdecode(name).startswith(TEMPORARY)
            key = os.path.relpath(path, top)
            if stat.S_ISLNK(state.st_mode):
                found[key] = ("link", os.readlink(path))  # noqa: PTH115
            elif stat.S_ISREG(state.st_mode):
                with open(path, "rb") as file:  # noqa: PTH123
                    found[key] = ("executable" if state.st_mode & 0o100 else "file", file.read())
    return found


def tree_by_git(folder: Path, scratch: Path) -> str:
    """The tree that git's own ``add -A`` and ``write-tree`` make of ``folder``, through an index elsewhere.

    Nested repositories must have been taken out before.
    """
    git_dir = scratch / "judge.git"
    git(scratch, "init", "--quiet", "--bare", str(git_dir))
    write(git_dir, {"info/attributes": "* -text -filter -ident\n"})
    options = ("--git-dir", str(git_dir), "--work-tree", str(folder))
    git(folder, "-c", "core.bare=false", *options, "add", "-A", ".")
    return git(folder, "-c", "core.bare=false", *options, "write-tree")


def fsck(store: Path) -> str:
    """What ``git fsck`` has to say about a store: nothing, if all is well."""
    return git(store, "fsck", "--full", "--strict", "--no-dangling", "--no-progress")
