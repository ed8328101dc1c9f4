"""An artifact store somewhere else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from necrocode.engine.errors import EnvironmentFault
from necrocode.rest import Call, Service, Token
from necrocode.states.ports import Artifact

_NAMED = re.compile(r"/sha256/([0-9a-f]{64})\Z")
#: Bytes.
MAX_DOWNLOAD = 256 * 1024 * 1024


class ArtifactStoreClient:
    """Implements the port :class:`necrocode.states.ports.ArtifactStore` over REST; raises as :class:`Service` says.

    ====================================  ====================================================
    call                                  body
    ====================================  ====================================================
    ``POST /artifacts``                   multipart ``file``, ``type``, ``metadata`` (JSON); answers ``{uri}``
    ``GET {uri}``                         answers the bytes
    ``GET /artifacts/metadata?uri=``      answers JSON
    ``GET /health``                       answers 200
    ====================================  ====================================================

    A ``uri`` may be a whole http or https URL (only the store's own origin gets the token) or a path below the store.
    """

    def __init__(
        self,
        base_url: str,
        token: Token = None,
        *,
        timeout: timedelta = timedelta(seconds=120),
        mask: Callable[[str], str] = str,
        epoch: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``epoch`` gives the run's epoch for the ``X-Necrocode-Epoch`` header."""
        self._service = Service("artifact store", base_url, token=token, timeout=timeout, mask=mask)
        self._epoch = epoch

    def upload(
        self, content: bytes, *, type: str, name: str, metadata: Mapping[str, Any], at: datetime, key: str
    ) -> Artifact:
        """Keep ``content``."""
        sha256 = hashlib.sha256(content).hexdigest()
        about = {**metadata, "name": name, "sha256": sha256, "created_at": at.timestamp()}
        call = Call(
            f"upload {name}",
            "POST",
            "/artifacts",
            files={"file": (name, content, "application/octet-stream")},
            fields={"type": type, "metadata": json.dumps(about)},
            key=key,
            epoch=self._epoch(),
            accept=(409,),
        )
        answer = self._service.call(call)
        if answer.code == "key_reused":
            # an upload whose answer was lost: what is uploaded now (a log, say) has grown since
            call = replace(call, key=f"{key}/{sha256}")
            answer = self._service.call(call)
        if answer.status == 409:
            raise self._service.refused(call, answer)
        if _is_sha256(kept := answer.mapping().get("sha256")) and kept != sha256:
            raise answer.bad(f"the store has kept other bytes: their SHA-256 is {kept}, not {sha256}")
        return Artifact(
            type=type,
            uri=answer.text("uri"),
            size_bytes=len(content),
            sha256=sha256,
            created_at=at,
            metadata=dict(metadata),
        )

    def download(self, uri: str, *, sha256: str | None = None) -> bytes:
        """The bytes, at most :data:`MAX_DOWNLOAD`. Raises :class:`NotFound`.

        They are checked against ``sha256`` (64 hex digits), else against the one that a URI such as
        ``…/sha256/<64 hex digits>`` names: :class:`EnvironmentFault` ``service_bad_answer``.
        """
        call = Call("download an artifact", "GET", self._place(uri), max_bytes=MAX_DOWNLOAD, html=True)
        answer = self._service.call(call)
        named = _NAMED.search(urlsplit(uri).path)
        wanted = sha256.lower() if sha256 is not None else named[1] if named else None
        found = hashlib.sha256(answer.content).hexdigest()
        if wanted is not None and found != wanted:
            raise answer.bad(f"these are other bytes: their SHA-256 is {found}, not {wanted}")
        return answer.content

    def metadata(self, uri: str) -> Mapping[str, Any]:
        """What the store knows of the artifact. Raises :class:`NotFound`."""
        call = Call("get an artifact's metadata", "GET", "/artifacts/metadata", params={"uri": uri})
        return self._service.call(call).mapping()

    def health_check(self) -> None:
        """Raises if the store is not there."""
        self._service.health_check()

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def _place(self, uri: str) -> str:
        scheme = urlsplit(uri).scheme
        if scheme in ("http", "https"):
            return uri
        if scheme:
            raise EnvironmentFault(
                f"artifact store: download an artifact: {uri} cannot be fetched over REST (its scheme is {scheme!r})",
                stop_reason="service_request",
            )
        return uri if uri.startswith("/") else f"/{uri}"


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
