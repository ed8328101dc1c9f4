"""Artifacts as one ZIP file, with a manifest."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from necrocode.artifacts.stored import Version
from necrocode.disk import file_errors
from necrocode.engine.folders import sync_directory
from necrocode.errors import DamagedArtifact, InvalidInput, NotFound, Problem

MANIFEST = "manifest.json"
"""Lists every artifact: its fields as JSON, and ``path``, its name in the archive."""

#: Bytes of one part of a name.
_MAX_PART = 120


def export(versions: Sequence[Version], target: Path, *, force: bool = False) -> int:
    """Write the artifacts to ``target``, each as ``<run>/<type>/<version>-<name>``; returns the bytes of the file.

    It appears as a whole or not at all. No more than a piece of an artifact is held in memory.

    Raises :class:`InvalidInput` if ``target`` is there, unless ``force``; :class:`DamagedArtifact` for an artifact
    whose bytes are gone or changed; :class:`EnvironmentFault` for what cannot be read or written.
    """
    _refuse(target, force=force)
    with file_errors(target, reason="export"), _draft(target) as (draft, file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            paths = archive_paths(versions)
            listed = [{**version.to_json(), "path": path} for version, path in zip(versions, paths, strict=True)]
            archive.writestr(MANIFEST, json.dumps({"artifacts": listed}, indent=1, ensure_ascii=True) + "\n")
            for version, path in zip(versions, paths, strict=True):
                _add(archive, version, path)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
        # it may have come to be meanwhile
        _refuse(target, force=force)
        draft.replace(target)
        sync_directory(target.parent)
    return size


def archive_paths(versions: Sequence[Version]) -> list[str]:
    """The name of each in the archive: no two are alike, in small letters either, and none leads out of it."""
    taken: set[str] = set()
    paths = []
    for version in versions:
        run = _part(version.stored.run_id or "no-run")
        # a folder cannot be where the manifest is
        run = f"_{run}" if run.lower() == MANIFEST else run
        folder = f"{run}/{_part(version.stored.artifact.type)}"
        name = _part(version.stored.name)
        path, count = f"{folder}/{version.number}-{name}", 1
        while path.lower() in taken:
            count += 1
            path = f"{folder}/{version.number}.{count}-{name}"
        taken.add(path.lower())
        paths.append(path)
    return paths


def _part(text: str) -> str:
    """``text`` as one part of a path, on any system."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    text = "".join("_" if character in '/\\:*?"<>|' or not character.isprintable() else character for character in text)
    # the end of a long name says more: its suffix
    text = text.encode()[-_MAX_PART:].decode("utf-8", "ignore")
    return re.sub(r"^[. ]+|[. ]+$", "_", text) or "_"


def _add(archive: zipfile.ZipFile, version: Version, path: str) -> None:
    artifact = version.stored.artifact
    # a ZIP file knows no year before
    moment = max(artifact.created_at.timetuple()[:6], (1980, 1, 1, 0, 0, 0))
    entry = zipfile.ZipInfo(path, moment)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    try:
        with archive.open(entry, "w", force_zip64=True) as file:
            for piece in version.store.pieces(artifact.uri):
                file.write(piece)
    except NotFound as error:
        raise DamagedArtifact(f"the artifact {artifact.uri} ({path}) is gone: {error}") from error
    except DamagedArtifact as error:
        raise DamagedArtifact(f"{error} ({path})") from error


def _refuse(target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise InvalidInput("the file to export to", [Problem("", f"{target} is a folder")])
    if not force and os.path.lexists(target):
        raise InvalidInput("the file to export to", [Problem("", f"{target} is there already: --force replaces it")])


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside ``target``; gone at the end of the block, unless it took the place of ``target``."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield Path(name), file
    finally:
        Path(name).unlink(missing_ok=True)
