"""The artifact store of a machine with no servers: a content-addressed folder and a table of what is in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, Row, delete, insert, select

from necrocode.artifacts.stored import PIECE, StoredArtifact
from necrocode.disk import file_errors
from necrocode.embedded.instants import from_microseconds, to_microseconds
from necrocode.embedded.schema import artifacts
from necrocode.engine.canonical import canonical
from necrocode.engine.database import Database
from necrocode.engine.folders import make_folder, sync_directory
from necrocode.errors import DamagedArtifact, NotFound
from necrocode.states.ports import Artifact

#: A file that is being written is abandoned after this.
_ABANDONED = timedelta(hours=1)


class Draft:
    """A file that is being written, piece by piece; its SHA-256 and size so far."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, piece: bytes) -> None:
        """Add a piece. Raises ``OSError``."""
        self._file.write(piece)
        self._hash.update(piece)
        self.size_bytes += len(piece)

    @property
    def sha256(self) -> str:
        """Of what was written so far, as 64 hex digits."""
        return self._hash.hexdigest()

    def finished(self) -> tuple[Path, str]:
        """The file, complete and synced, and its SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._path, self.sha256


class LocalArtifacts:
    """Implements the port :class:`necrocode.states.ports.ArtifactStore` on ``<folder>/sha256/ab/cdef…``.

    Equal contents are stored once. A file is complete and synced before its row exists; files without a row are swept.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        #: Where the contents are.
        self.folder = folder.absolute()

    def upload(
        self, content: bytes, *, type: str, name: str, metadata: Mapping[str, Any], at: datetime, key: str
    ) -> Artifact:
        """Keep ``content``; the same ``key`` again gives the first artifact. Raises ``EnvironmentFault``."""
        with self._database.read() as connection:
            known = self._row(connection, key)
        if known is not None and self._path(known.sha256).is_file():
            return self._artifact(known)
        with self.draft() as draft:
            draft.write(content)
            return self.keep(draft, type=type, name=name, metadata=metadata, at=at, key=key)

    def keep(
        self, draft: Draft, *, type: str, name: str, metadata: Mapping[str, Any], at: datetime, key: str
    ) -> Artifact:
        """Keep what was written into ``draft``; the same ``key`` again gives the first artifact."""
        temporary, sha256 = draft.finished()
        with self._database.write() as connection:
            # placed and counted under one lock, so that no delete of equal contents comes between
            known = self._row(connection, key)
            if known is not None and known.sha256 != sha256:
                return self._artifact(known)
            self._place(temporary, self._path(sha256))
            if known is None:
                connection.execute(
                    insert(artifacts).values(
                        idempotency_key=key,
                        sha256=sha256,
                        name=name,
                        type=type,
                        size_bytes=draft.size_bytes,
                        metadata=canonical(dict(metadata)),
                        created_at=to_microseconds(at),
                    )
                )
                known = self._row(connection, key)
        assert known is not None
        return self._artifact(known)

    def download(self, uri: str) -> bytes:
        """The bytes. Raises :class:`NotFound`, :class:`DamagedArtifact` if they are not those that were uploaded."""
        with self._readable(uri):
            content = self._path(self._sha256(uri)).read_bytes()
        self._check(uri, hashlib.sha256(content).hexdigest())
        return content

    def pieces(self, uri: str) -> Iterator[bytes]:
        """The bytes, a piece at a time. Raises as :meth:`download` does, for damage once the last piece was read."""
        path, found = self._path(self._sha256(uri)), hashlib.sha256()
        with self._readable(uri):
            file = path.open("rb")
        with file:
            while True:
                with self._readable(uri):
                    piece = file.read(PIECE)
                if not piece:
                    break
                found.update(piece)
                yield piece
        self._check(uri, found.hexdigest())

    def checked_file(self, uri: str) -> Path:
        """The file with the bytes, for reading only. Raises as :meth:`download` does; holds no more than a piece."""
        path = self._path(self._sha256(uri))
        with self._readable(uri), path.open("rb") as file:
            self._check(uri, hashlib.file_digest(file, "sha256").hexdigest())
        return path

    def uri_of(self, sha256: str) -> str:
        """The URI of these contents (64 hex digits), whether they are there or not."""
        return self._path(sha256).as_uri()

    def list_artifacts(
        self, *, type: str | None = None, run_id: str | None = None, before: datetime | None = None
    ) -> list[StoredArtifact]:
        """Uploads, oldest first: of a ``type``, of a run (its ``metadata["run_id"]``), older than ``before``."""
        query = select(artifacts).order_by(artifacts.c.created_at, artifacts.c.idempotency_key)
        if type is not None:
            query = query.where(artifacts.c.type == type)
        if before is not None:
            query = query.where(artifacts.c.created_at < to_microseconds(before))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found = [StoredArtifact(row.idempotency_key, row.name, self._artifact(row)) for row in rows]
        return [one for one in found if run_id is None or one.artifact.metadata.get("run_id") == run_id]

    def metadata(self, uri: str) -> list[StoredArtifact]:
        """The uploads that have these contents, oldest first. Raises :class:`NotFound`."""
        query = select(artifacts).where(artifacts.c.sha256 == self._sha256(uri)).order_by(artifacts.c.created_at)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise NotFound(f"there is no artifact {uri}")
        return [StoredArtifact(row.idempotency_key, row.name, self._artifact(row)) for row in rows]

    def delete(self, key: str) -> int:
        """Forget one upload, and its file if nothing else has the same contents.

        Returns the bytes that were freed; 0 if there was no such upload.
        """
        with self._database.write() as connection:
            row = self._row(connection, key)
            if row is None:
                return 0
            connection.execute(delete(artifacts).where(artifacts.c.idempotency_key == key))
            others = connection.execute(
                select(artifacts.c.idempotency_key).where(artifacts.c.sha256 == row.sha256).limit(1)
            ).first()
            if others is not None:
                return 0
            with self._explained():
                self._path(row.sha256).unlink(missing_ok=True)
            return int(row.size_bytes)

    def forget(self, stored: StoredArtifact) -> int:
        """:meth:`delete` of what was listed."""
        return self.delete(stored.key)

    def sweep(self) -> int:
        """Remove what deaths left behind: unfinished files, and files of no upload. Returns the bytes freed."""
        freed = 0
        with self._database.write() as connection, self._explained():
            counted = set(connection.execute(select(artifacts.c.sha256)).scalars())
            for path in sorted(self.folder.glob("sha256/*/*")):
                size = path.stat().st_size
                if path.parent.name + path.name not in counted:
                    path.unlink(missing_ok=True)
                    freed += size
            for path in sorted(self.folder.glob("writing/*")):
                status = path.stat()
                if time.time() - status.st_mtime > _ABANDONED.total_seconds():
                    path.unlink(missing_ok=True)
                    freed += status.st_size
        return freed

    def health_check(self) -> None:
        """Raises what :class:`Database` raises, or ``EnvironmentFault``, if the store cannot be used."""
        self._database.revision()
        with self._explained():
            make_folder(self.folder / "writing")

    def _row(self, connection: Connection, key: str) -> Row[Any] | None:
        return connection.execute(select(artifacts).where(artifacts.c.idempotency_key == key)).one_or_none()

    def _artifact(self, row: Row[Any]) -> Artifact:
        return Artifact(
            type=row.type,
            uri=self._path(row.sha256).as_uri(),
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            created_at=from_microseconds(row.created_at),
            metadata=json.loads(row.metadata),
        )

    def _path(self, sha256: str) -> Path:
        return self.folder / "sha256" / sha256[:2] / sha256[2:]

    def _sha256(self, uri: str) -> str:
        """The hash that ``uri`` names: nothing outside the folder is ever opened."""
        parts = urlsplit(uri)
        path = Path(unquote(parts.path))
        sha256 = path.parent.name + path.name
        is_hash = len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")
        if parts.scheme != "file" or parts.netloc or not is_hash or path != self._path(sha256):
            raise NotFound(f"there is no artifact {uri}: it is not in {self.folder}")
        return sha256

    @contextlib.contextmanager
    def draft(self) -> Iterator[Draft]:
        """A new file to write into; gone at the end of the block, if it was not kept."""
        with self._explained():
            writing = make_folder(self.folder / "writing")
            path = writing / f"{os.getpid()}.{os.urandom(8).hex()}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with self._explained(), os.fdopen(descriptor, "wb") as file:
                yield Draft(path, file)
        finally:
            with self._explained():
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _readable(self, uri: str) -> Iterator[None]:
        with self._explained():
            try:
                yield
            except FileNotFoundError:
                raise NotFound(f"there is no artifact {uri}") from None

    def _check(self, uri: str, found: str) -> None:
        if found != self._sha256(uri):
            raise DamagedArtifact(f"the artifact {uri} is damaged: its bytes have another hash")

    def _place(self, temporary: Path, path: Path) -> None:
        with self._explained():
            make_folder(path.parent)
            temporary.rename(path)
            sync_directory(path.parent)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        with file_errors(self.folder, reason="artifacts"):
            yield
