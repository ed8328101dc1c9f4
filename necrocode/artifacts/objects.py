"""Artifacts in a bucket: S3, whatever speaks its protocol, and Google Cloud Storage."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from necrocode.artifacts.faults import fault_of
from necrocode.artifacts.rest import MAX_DOWNLOAD
from necrocode.artifacts.stored import PIECE, StoredArtifact
from necrocode.config import ServiceUrl
from necrocode.engine.errors import EnvironmentFault, Transient
from necrocode.errors import DamagedArtifact, NotFound
from necrocode.states.ports import Artifact

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, RetryConfig, S3Store

SCHEMES = ("s3", "gs")
"""Of the URLs that name a bucket."""

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
}
"""Environment variables with the URL of a server, by scheme; without one, it is the provider's own."""

_HEADERS = {
    "s3": {
        "AWS_ACCESS_KEY_ID": "access_key_id",
        "AWS_SECRET_ACCESS_KEY": "secret_access_key",
        "AWS_SESSION_TOKEN": "session_token",
        "AWS_TOKEN": "session_token",
        "AWS_REGION": "region",
        "AWS_DEFAULT_REGION": "region",
    },
    "gs": {"GOOGLE_BEARER_TOKEN": "bearer_token"},
}
"""Environment variables whose values go into headers, and obstore's settings that they stand for."""

#: Records that are read at once.
_AT_ONCE = 8


class ObjectArtifacts:
    """Implements the port :class:`necrocode.states.ports.ArtifactStore` on a bucket, below the prefix in its URL.

    ==================================  ====================================================
    object                              holds
    ==================================  ====================================================
    ``sha256/ab/cdef…``                 contents, by their hash: equal ones are stored once
    ``uploads/<run>/<key>.json``        one upload: type, name, size, hash, time, metadata
    ``references/ab/cdef…/<key>``       nothing: says that an upload needs the contents
    ==================================  ====================================================

    ``<run>`` is ``metadata["run_id"]``, ``<key>`` the hash of the idempotency key: the same key of the same run gives
    the first artifact, also to one of two that upload at once. Contents are there before their upload's record is.

    Endpoint, region and credentials come from the environment, as obstore reads them (``AWS_…``, ``GOOGLE_…``, or the
    machine's own role). An object store knows no runs: it cannot refuse an older epoch, as a REST store does. Removing
    the last upload of some contents at the very moment when another one of the same contents comes in can take these
    from it, if both its writes fall between the look at the references and the removal. A death in the middle of an
    upload can leave contents without a record, if what is uploaded after it under that key has grown.

    Raises what :func:`necrocode.artifacts.faults.fault_of` says, masked; never retries. Safe between threads.
    """

    def __init__(
        self,
        url: str,
        *,
        secrets: Callable[[], Mapping[str, str]] = dict,
        timeout: timedelta = timedelta(seconds=120),
        mask: Callable[[str], str] = str,
    ) -> None:
        """``url``: ``s3://bucket/prefix`` or ``gs://bucket/prefix``. ``secrets`` gives obstore's settings that are
        secret, at each call, so that nothing keeps them; those it leaves out are looked for in the environment.
        ``timeout`` is that of one request. Raises ``ValueError`` for another URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise ValueError(f"artifact store: {url!r} is not a URL such as s3://bucket/prefix")
        self.url = url.rstrip("/")
        self._scheme, self._bucket, self._prefix = parts.scheme, parts.netloc, parts.path.strip("/")
        self._secrets = secrets
        self._timeout = timeout
        self._mask = mask

    def upload(
        self, content: bytes, *, type: str, name: str, metadata: Mapping[str, Any], at: datetime, key: str
    ) -> Artifact:
        """Keep ``content``; the same ``key`` of the same run again gives the first artifact."""
        from obstore.exceptions import AlreadyExistsError

        sha256 = hashlib.sha256(content).hexdigest()
        record = _Record(
            key=key,
            name=name,
            type=type,
            size_bytes=len(content),
            sha256=sha256,
            created_at=at,
            metadata=dict(metadata),
        )
        with self._calling(f"upload {name}") as store:
            # the reference first: whoever removes the last one removes the contents
            store.put(_reference(record), b"")
            store.put(_contents(sha256), content)
            try:
                store.put(_place(record), record.model_dump_json().encode(), mode="create")
            except AlreadyExistsError:
                first = self._record(store, _place(record))
                if first is None:
                    raise Transient(
                        f"artifact store {self.url}: upload {name}: its record is neither there nor can be put there"
                    ) from None
                if first.sha256 != sha256:
                    self._release(store, record)
                record = first
        return self._stored(record).artifact

    def download(self, uri: str) -> bytes:
        """The bytes, at most :data:`MAX_DOWNLOAD`. Raises :class:`NotFound`, :class:`DamagedArtifact`."""
        return b"".join(self._pieces(uri, MAX_DOWNLOAD))

    def pieces(self, uri: str) -> Iterator[bytes]:
        """The bytes, at most :data:`PIECE` at a time. Raises as :meth:`download` does, at the last piece at latest."""
        return self._pieces(uri, None)

    def list_artifacts(
        self, *, type: str | None = None, run_id: str | None = None, before: datetime | None = None
    ) -> list[StoredArtifact]:
        """Uploads, oldest first: of a ``type``, of a run, older than ``before``. Reads a record for each of the run's
        uploads; without ``run_id``, for each in the bucket.
        """
        folder = "uploads" if run_id is None else f"uploads/{_segment(run_id)}"
        with self._calling("list artifacts") as store:
            places = [each["path"] for batch in store.list(folder) for each in batch]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                records = list(pool.map(lambda place: self._record(store, place), places))
        found = [
            self._stored(record)
            for record in records
            # None: removed since it was listed
            if record is not None
            and (type is None or record.type == type)
            and (run_id is None or record.metadata.get("run_id") == run_id)
            and (before is None or record.created_at < before)
        ]
        return sorted(found, key=lambda each: (each.artifact.created_at, each.key))

    def runs(self) -> set[str]:
        """The ids of runs that artifacts are here of; those that are no plain word are left out."""
        with self._calling("list runs") as store:
            folders = store.list_with_delimiter("uploads")["common_prefixes"]
        return {folder.rstrip("/").rpartition("/")[2] for folder in folders}

    def forget(self, stored: StoredArtifact) -> int:
        """Remove one upload, and its contents if no other upload has the same; returns the bytes that were freed."""
        artifact = stored.artifact
        record = _Record(
            key=stored.key,
            name=stored.name,
            type=artifact.type,
            size_bytes=artifact.size_bytes,
            sha256=artifact.sha256,
            created_at=artifact.created_at,
            metadata=dict(artifact.metadata),
        )
        with self._calling(f"remove {stored.name}") as store:
            freed = self._release(store, record)
            # the record last: after a death in between, it is found and removed again
            store.delete(_place(record))
        return freed

    def health_check(self) -> None:
        """Raises if the bucket is not there or cannot be read."""
        with self._calling("check its health") as store:
            self._record(store, "uploads/health.json")

    def _release(self, store: S3Store | GCSStore, record: _Record) -> int:
        """Remove an upload's reference, and the contents if it was the last one."""
        reference = _reference(record)
        store.delete(reference)
        if any(batch for batch in store.list(reference.rpartition("/")[0])):
            return 0
        store.delete(_contents(record.sha256))
        return record.size_bytes

    def _record(self, store: S3Store | GCSStore, place: str) -> _Record | None:
        """The record at ``place``; ``None`` if there is none."""
        try:
            content = bytes(store.get(place).bytes())
        except FileNotFoundError as error:
            found = self._fault("get the record of an upload", error)
            if isinstance(found, NotFound):
                return None
            raise found from error
        try:
            return _Record.model_validate_json(content)
        except ValidationError:
            raise EnvironmentFault(
                f"artifact store {self.url}: {place} is no record of an upload", stop_reason="service_bad_answer"
            ) from None

    def _pieces(self, uri: str, limit: int | None) -> Iterator[bytes]:
        sha256 = self._sha256(uri)
        place, what = _contents(sha256), "download an artifact"
        found = hashlib.sha256()
        with self._calling(what) as store:
            answer = store.get(place)
            size = answer.meta["size"]
            if limit is not None and size > limit:
                raise EnvironmentFault(
                    f"artifact store {self.url}: {uri} is larger than {limit:,} bytes", stop_reason="service_bad_answer"
                )
            if size <= PIECE:
                pieces: Iterator[bytes] = iter([bytes(answer.bytes())])
            else:
                # a request each, so that each has the whole timeout
                pieces = (
                    bytes(store.get_range(place, start=start, length=min(PIECE, size - start)))
                    for start in range(0, size, PIECE)
                )
            for piece in pieces:
                found.update(piece)
                yield piece
        if found.hexdigest() != sha256:
            raise DamagedArtifact(f"the artifact {uri} is damaged: its bytes have another hash")

    def _sha256(self, uri: str) -> str:
        """The hash that ``uri`` names: nothing but contents below our prefix is ever read."""
        found = re.fullmatch(r"/sha256/([0-9a-f]{2})/([0-9a-f]{62})", uri.removeprefix(self.url))
        if found is None or not uri.startswith(self.url):
            raise NotFound(f"there is no artifact {uri}: it is not in {self.url}")
        return found[1] + found[2]

    def _stored(self, record: _Record) -> StoredArtifact:
        return StoredArtifact(
            record.key,
            record.name,
            Artifact(
                type=record.type,
                uri=f"{self.url}/{_contents(record.sha256)}",
                size_bytes=record.size_bytes,
                sha256=record.sha256,
                created_at=record.created_at,
                metadata=record.metadata,
            ),
        )

    @contextlib.contextmanager
    def _calling(self, what: str) -> Iterator[S3Store | GCSStore]:
        """The bucket, for the calls of the block, whose errors are ours."""
        from obstore.exceptions import BaseError

        try:
            yield self._store()
        except (BaseError, FileNotFoundError) as error:
            raise self._fault(what, error) from error
        except BaseException as error:
            # a bug in the library, under a name that cannot be imported: to us, a store that cannot be used
            if type(error).__name__ != "PanicException":
                raise
            words = self._mask(f"artifact store {self.url}: {what}: obstore gave up: {error}")
            raise EnvironmentFault(words, stop_reason="service_request") from error

    def _fault(self, what: str, error: Exception) -> EnvironmentFault:
        return fault_of(
            error, store=self.url, what=what, timeout=f"{self._timeout.total_seconds():g} s", mask=self._mask
        )

    def _store(self) -> S3Store | GCSStore:
        from obstore.store import GCSStore, S3Store

        endpoint = self._endpoint()
        secrets: Any = dict(self._secrets())
        self._check_environment(secrets)
        options: ClientConfig = {
            "timeout": self._timeout,
            "connect_timeout": min(self._timeout, timedelta(seconds=10)),
            "user_agent": "necrocode",
            "allow_http": endpoint.startswith("http://"),
        }
        # the engine retries, and writes down that it does
        retries: RetryConfig = {"max_retries": 0, "retry_timeout": self._timeout}
        prefix = self._prefix or None
        if self._scheme == "gs":
            return GCSStore(self._bucket, prefix=prefix, config=secrets, client_options=options, retry_config=retries)
        return S3Store(self._bucket, prefix=prefix, config=secrets, client_options=options, retry_config=retries)

    def _endpoint(self) -> str:
        """The server that the environment names; empty for the provider's own. Raises :class:`EnvironmentFault`."""
        for name in _ENDPOINTS[self._scheme]:
            endpoint = os.environ.get(name, "")
            if not endpoint:
                continue
            with contextlib.suppress(ValidationError):
                url = TypeAdapter(ServiceUrl).validate_python(endpoint)
                if re.match(r"https?://[A-Za-z0-9._:\[\]-]+(/|$)", url):
                    return url
            raise self._unusable(name, "must be a URL such as https://host:port")
        return ""

    def _check_environment(self, given: Collection[str]) -> None:
        """Refuse what obstore would panic at: it becomes a header. ``given`` are settings that it is told otherwise."""
        for name, setting in _HEADERS[self._scheme].items():
            value = os.environ.get(name, "")
            if setting not in given and not (value.isascii() and (value.isprintable() or not value)):
                raise self._unusable(name, "must be one line of printable ASCII characters")

    def _unusable(self, variable: str, problem: str) -> EnvironmentFault:
        return EnvironmentFault(f"artifact store {self.url}: {variable} {problem}", stop_reason="service_request")


class _Record(BaseModel):
    """One upload, as its object holds it."""

    key: str
    name: str
    type: str
    size_bytes: int
    sha256: str
    created_at: AwareDatetime
    metadata: dict[str, Any]


def _contents(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256[2:]}"


def _place(record: _Record) -> str:
    run_id = record.metadata.get("run_id")
    return f"uploads/{_segment(run_id if isinstance(run_id, str) else '')}/{_hash(record.key)}.json"


def _reference(record: _Record) -> str:
    # of a run and a key, like the record: two runs that use the same key need the contents both
    run = record.metadata.get("run_id")
    return f"references/{record.sha256[:2]}/{record.sha256[2:]}/{_hash(json.dumps([run, record.key]))}"


def _segment(run_id: str) -> str:
    """``run_id`` as one segment of a path."""
    if not run_id:
        return "-"
    return run_id if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", run_id) else f"~{_hash(run_id)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
