"""Where a repository's things lie under the home, and how its URL is read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

_SCP_LIKE = re.compile(r"(?!-)(?P<user>[^@/:\[\]]+@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):(?P<path>(?!//).+)\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """A repository's address, with the login that stood in it taken out."""

    #: What git is given: an URL without a password, or an absolute path.
    url: str
    #: What two spellings of the same repository have in common.
    normalised: str
    #: ``host[:port]`` that a token may be sent to: of an https URL, or an http one on this machine itself.
    token_host: str | None = None
    username: str | None = None
    #: Never leaves this object but through askpass.
    password: str | None = None

    @classmethod
    def parse(cls, text: str) -> RemoteUrl:
        """Read an URL, an scp-like address (``git@host:path``) or a local path. Raises ``ValueError`` if it is none."""
        text = text.strip()
        if not text or "\0" in text or "\n" in text or text.startswith("-"):
            raise ValueError(f"{text!r} is no address of a repository")
        if "://" in text:
            return cls._from_url(text)
        match = _SCP_LIKE.match(text)
        if match and not Path(text).exists():
            user, host, path = match["user"] or "", match["host"].lower(), _bare_path(match["path"])
            return cls(url=text, normalised=f"ssh://{user}{host}/{path.lstrip('/')}")
        path = str(Path(text).expanduser().resolve())
        return cls(url=path, normalised="file://" + _bare_path(path))

    @classmethod
    def _from_url(cls, text: str) -> RemoteUrl:
        parts = urlsplit(text)
        scheme = parts.scheme.lower()
        if scheme == "file":
            path = str(Path(unquote(parts.path)).resolve())
            return cls(url="file://" + quote(path), normalised="file://" + _bare_path(path))
        host = (parts.hostname or "").lower()
        if not host:
            raise ValueError("the repository's URL names no host")
        shown = f"[{host}]" if ":" in host else host
        if parts.port is not None:
            shown = f"{shown}:{parts.port}"
        path = _bare_path(parts.path)
        if scheme not in ("http", "https"):
            user = f"{parts.username}@" if parts.username else ""
            # ssh takes no password from an URL; one that stands there must reach neither argv nor a file.
            clean = urlunsplit((parts.scheme, user + shown, parts.path, parts.query, ""))
            return cls(url=clean, normalised=f"{scheme}://{user}{shown}/{path.lstrip('/')}")
        return cls(
            url=urlunsplit((parts.scheme, shown, parts.path, parts.query, "")),
            normalised=f"{scheme}://{shown}/{path.lstrip('/')}",
            token_host=shown if scheme == "https" or host in _LOOPBACK else None,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )

    @property
    def key(self) -> str:
        """Folder name of the repository under the home: a readable part and a hash of the normalised address."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.normalised.rstrip("/").rpartition("/")[2]).strip("-.") or "repo"
        return f"{name[:40].lower()}-{hashlib.sha256(self.normalised.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class RepoPlace:
    """One repository's folder under the home."""

    home: Path
    key: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.home / "repos" / self.key

    @property
    def cache(self) -> Path:
        """The object cache: a bare mirror of the remote branches that were needed."""
        return self.path / "cache.git"

    @property
    def store(self) -> Path:
        """The snapshot store."""
        return self.path / "snapshots.git"

    @property
    def lock(self) -> Path:
        """Held while the cache or the store is made, fetched into or collected."""
        return self.path / "lock"

    def slot(self, number: int) -> Path:
        """A slot's folder; the working copy is ``work`` in it, what we remember of it ``state``."""
        return self.path / "slots" / str(number)


def readable_for(slot_path: Path) -> tuple[Path, ...]:
    """What git must be able to read outside a slot when a command in it runs git: the object cache of its repository.

    Nothing, for a user's own folder or a foreign pool's slot.
    """
    slots = slot_path.parent.parent
    if slot_path.name != "work" or slots.name != "slots" or slots.parent.parent.name != "repos":
        return ()
    return (slots.parent / "cache.git",)


def folder_state(home: Path, folder: Path) -> Path:
    """Where we keep what we know of a user's own folder (a real path)."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-.") or "folder"
    return home / "folders" / f"{name[:40].lower()}-{hashlib.sha256(bytes(folder)).hexdigest()[:12]}"


def _bare_path(path: str) -> str:
    path = re.sub(r"/{2,}", "/", path).rstrip("/")
    return path.removesuffix("/.git").removesuffix(".git")
