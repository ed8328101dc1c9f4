"""What is kept of one upload, and the versions that uploads of the same thing make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from necrocode.states.ports import Artifact

#: Bytes. What is held of an artifact at a time where it is not needed as a whole.
PIECE = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """One upload."""

    #: The idempotency key it came with.
    key: str
    name: str
    artifact: Artifact

    @property
    def run_id(self) -> str | None:
        """The run it was kept of, as its metadata says."""
        run_id = self.artifact.metadata.get("run_id")
        return run_id if isinstance(run_id, str) and run_id else None

    @property
    def task(self) -> str | None:
        """``spec/id`` of the task it was kept of, as its metadata says; ``None`` if that does not name both."""
        spec, task_id = (self.artifact.metadata.get(name) for name in ("spec_name", "task_id"))
        return f"{spec}/{task_id}" if spec and task_id else None


class ListedStore(Protocol):
    """An artifact store that can say what is in it."""

    def list_artifacts(
        self, *, type: str | None = None, run_id: str | None = None, before: datetime | None = None
    ) -> list[StoredArtifact]:
        """Uploads, oldest first: of a ``type``, of a run (its ``metadata["run_id"]``), older than ``before``."""

    def pieces(self, uri: str) -> Iterator[bytes]:
        """The bytes, at most :data:`PIECE` at a time. Raises :class:`NotFound`; :class:`DamagedArtifact` once the last
        piece shows that they are not those that were uploaded.
        """

    def forget(self, stored: StoredArtifact) -> int:
        """Remove one upload, and its contents if nothing else has them; returns the bytes that were freed."""


@dataclass(frozen=True, slots=True)
class Version:
    """One upload as one of several of the same thing."""

    #: From 1 for the oldest that is still kept.
    number: int
    stored: StoredArtifact
    #: Where its bytes are.
    store: ListedStore

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        artifact = self.stored.artifact
        return {
            "name": self.stored.name,
            "type": artifact.type,
            "version": self.number,
            "size_bytes": artifact.size_bytes,
            "sha256": artifact.sha256,
            "created_at": artifact.created_at.isoformat(),
            "uri": artifact.uri,
            "run_id": self.stored.run_id,
            "task": self.stored.task,
            "metadata": dict(artifact.metadata),
        }


def numbered(uploads: Iterable[tuple[StoredArtifact, ListedStore]]) -> list[Version]:
    """The uploads, oldest first. Those of the same task (without one: the same run), type and name are versions of
    each other, numbered in the order of their creation.
    """
    count: dict[tuple[str, str, str], int] = defaultdict(int)
    found = []
    for stored, store in sorted(uploads, key=lambda each: (each[0].artifact.created_at, each[0].key)):
        thing = (stored.task or f"run {stored.run_id}", stored.artifact.type, stored.name)
        count[thing] += 1
        found.append(Version(count[thing], stored, store))
    return found
