"""The artifact store over HTTP: uploads and downloads in pieces, with checksums and ranges."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Request, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.types import Message, Receive, Scope, Send

from necrocode.artifacts.local import LocalArtifacts
from necrocode.artifacts.stored import StoredArtifact
from necrocode.embedded.fences import check_epoch
from necrocode.engine.database import Database
from necrocode.errors import KeyReused, NotFound
from necrocode.serve.answers import Refused, refusals
from necrocode.serve.fields import MAX_SECONDS, Epoch, IdempotencyKey, JsonObject, Seconds, Text, instant, key_or_new

_PIECE = 1024 * 1024
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_SHA256 = r"^[0-9a-f]{64}$"
_METADATA: dict[str, Any] = {
    "type": "object",
    "description": "JSON. Of its fields, run_id and sha256 (64 hex digits; must be the file's) count, beside these.",
    "additionalProperties": True,
    "properties": {
        "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 1000},
        "created_at": {"type": ["number", "null"], "minimum": 0, "maximum": MAX_SECONDS},
    },
}
_OWN = ("name", "sha256", "created_at")
"""What our client puts into the metadata, and what has fields of its own here."""


class UploadAnswer(BaseModel):
    """An artifact that is kept."""

    uri: str
    type: str
    name: str
    size_bytes: int
    sha256: str
    created_at: float
    metadata: dict[str, Any]


class ArtifactAnswer(UploadAnswer):
    """An artifact: the first upload of these contents."""

    #: Every upload of these contents, the first one first.
    uploads: list[UploadAnswer]


class RangedFile(FileResponse):
    """A file, or what the ``Range`` header asks of it; ranges that cannot be are refused in our own words."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                headers = {
                    name.decode(): value.decode() for name, value in message["headers"] if name == b"content-range"
                }
                words = "the Range header names no bytes of this file"
                raise Refused(message["status"], "bad_range", words, headers)
            await send(message)

        await super().__call__(scope, receive, sent)


class _About(BaseModel):
    """What the metadata may say of the file itself."""

    name: Text | None = None
    sha256: str | None = None
    created_at: Seconds | None = None


def artifact_routes(database: Database, store: LocalArtifacts) -> APIRouter:
    """The calls, over ``store``."""
    routes = APIRouter(tags=["artifact store"])

    def answer(request: Request, stored: StoredArtifact) -> UploadAnswer:
        artifact = stored.artifact
        host = request.headers.get("host", "")
        base = f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else ""
        return UploadAnswer(
            uri=f"{base}/artifacts/sha256/{artifact.sha256}",
            type=artifact.type,
            name=stored.name,
            size_bytes=artifact.size_bytes,
            sha256=artifact.sha256,
            created_at=artifact.created_at.timestamp(),
            metadata=dict(artifact.metadata),
        )

    @routes.post("/artifacts", status_code=201, responses=refusals(400, 409, 413))
    def upload(
        request: Request,
        file: Annotated[UploadFile, File()],
        type: Annotated[Text, Form()],
        metadata: Annotated[str, Form(json_schema_extra=_METADATA)] = "",
        key: IdempotencyKey = None,
        epoch: Epoch = None,
    ) -> UploadAnswer:
        """Keep a file. A `sha256` in the metadata that is not the file's: 422 `wrong_checksum`, and nothing is kept."""
        given = _metadata(metadata)
        about = _about(given)
        kept = {name: value for name, value in given.items() if name not in _OWN}
        run_id = given.get("run_id")
        if epoch is not None and isinstance(run_id, str) and run_id:
            check_epoch(database, run_id, int(epoch))
        with store.draft() as draft:
            while piece := file.file.read(_PIECE):
                draft.write(piece)
            if about.sha256 is not None and about.sha256.lower() != draft.sha256:
                raise Refused(422, "wrong_checksum", f"the file's SHA-256 is {draft.sha256}, not {about.sha256[:64]}")
            at = datetime.now(UTC) if about.created_at is None else instant(about.created_at)
            name = about.name or file.filename or type
            artifact = store.keep(draft, type=type, name=name, metadata=kept, at=at, key=(key := key_or_new(key)))
        if (artifact.sha256, artifact.type, artifact.metadata) != (draft.sha256, type, kept):
            raise KeyReused(key)
        return answer(request, StoredArtifact(key, name, artifact))

    @routes.get("/artifacts/metadata", responses=refusals(404))
    def get_metadata(request: Request, uri: str) -> ArtifactAnswer:
        """What is known of the artifact that an upload's `uri` names."""
        sha256 = uri.rpartition("/")[2]
        if not re.fullmatch(_SHA256, sha256):
            raise NotFound(f"there is no artifact {uri[:200]!r} here")
        uploads = [answer(request, stored) for stored in store.metadata(store.uri_of(sha256))]
        return ArtifactAnswer(**uploads[0].model_dump(), uploads=uploads)

    @routes.get(
        "/artifacts/sha256/{sha256}",
        response_class=RangedFile,
        responses={
            **refusals(400, 404, 416),
            200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
            206: {"description": "The bytes that the `Range` header asked for."},
        },
    )
    def download(sha256: Annotated[str, Path(pattern=_SHA256)]) -> RangedFile:
        """The bytes; also some of them (`Range`). They are checked against their hash before the first is sent."""
        return RangedFile(
            store.checked_file(store.uri_of(sha256)),
            media_type="application/octet-stream",
            headers={"ETag": f'"{sha256}"', "X-Content-Type-Options": "nosniff"},
        )

    return routes


def _metadata(text: str) -> dict[str, Any]:
    try:
        given: dict[str, Any] = TypeAdapter(JsonObject).validate_python(json.loads(text) if text.strip() else {})
    except (ValueError, RecursionError):
        raise Refused(422, "invalid_request", "metadata: must be a JSON object") from None
    return given


def _about(given: dict[str, Any]) -> _About:
    try:
        return _About.model_validate({name: given[name] for name in _OWN if name in given})
    except ValidationError as error:
        names = ", ".join(str(each["loc"][0]) for each in error.errors())
        raise Refused(422, "invalid_request", f"metadata: {names} cannot be used") from None
