"""The local artifact store: what stands on the disk, and what a death leaves there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from necrocode.artifacts.local import LocalArtifacts
from necrocode.embedded.database import open_services
from necrocode.engine.errors import EnvironmentFault
from necrocode.errors import NotFound
from necrocode.states.ports import Artifact

AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts with space"


@pytest.fixture
def store(tmp_path: Path, folder: Path) -> Iterator[LocalArtifacts]:
    database = open_services(tmp_path / "home")
    yield LocalArtifacts(database, folder)
    database.close()


def keep(store: LocalArtifacts, content: bytes, key: str = "k", *, run: str = "r", at: datetime = AT) -> Artifact:
    return store.upload(content, type="log", name="x.log", metadata={"run_id": run}, at=at, key=key)


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_file_lies_under_its_hash_for_its_owner_only(store: LocalArtifacts, folder: Path) -> None:
    artifact = keep(store, b"content")
    (path,) = files(folder)
    assert path == folder / "sha256" / artifact.sha256[:2] / artifact.sha256[2:]
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert artifact.uri == path.as_uri()
    assert [parent.stat().st_mode & 0o777 for parent in path.parents[:3]] == [0o700] * 3


def test_the_first_content_of_a_key_stays(store: LocalArtifacts, folder: Path) -> None:
    first = keep(store, b"one")
    assert keep(store, b"two") == first
    assert len(files(folder)) == 1


def test_a_lost_file_is_written_again(store: LocalArtifacts, folder: Path) -> None:
    artifact = keep(store, b"one")
    files(folder)[0].unlink()
    assert keep(store, b"one") == artifact
    assert store.download(artifact.uri) == b"one"


def test_a_damaged_file_is_said_to_be(store: LocalArtifacts, folder: Path) -> None:
    artifact = keep(store, b"one")
    files(folder)[0].write_bytes(b"two")
    with pytest.raises(EnvironmentFault, match="is damaged"):
        store.download(artifact.uri)


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "https://x.example/y", "", "file://host/x", "nonsense"])
def test_nothing_outside_the_folder_is_opened(store: LocalArtifacts, uri: str) -> None:
    with pytest.raises(NotFound, match="there is no artifact"):
        store.download(uri)


def test_a_way_out_of_the_folder_is_not_taken(store: LocalArtifacts, folder: Path) -> None:
    artifact = keep(store, b"one")
    path = files(folder)[0]
    other = folder.parent / "other" / path.parent.name / path.name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"one")
    with pytest.raises(NotFound):
        store.download(other.as_uri())
    with pytest.raises(NotFound):
        store.download(artifact.uri.replace("/sha256/", "/sha256/../../other/"))


def test_uploads_are_listed_by_type_run_and_age(store: LocalArtifacts) -> None:
    keep(store, b"old", "1", run="a", at=AT - timedelta(days=2))
    keep(store, b"new", "2", run="b")
    assert [one.key for one in store.list_artifacts()] == ["1", "2"]
    assert [one.key for one in store.list_artifacts(run_id="b")] == ["2"]
    assert [one.key for one in store.list_artifacts(before=AT)] == ["1"]
    assert store.list_artifacts(type="diff") == []


def test_metadata_tells_of_every_upload_of_the_contents(store: LocalArtifacts) -> None:
    artifact = keep(store, b"equal", "1")
    keep(store, b"equal", "2", at=AT + timedelta(seconds=1))
    assert [one.key for one in store.metadata(artifact.uri)] == ["1", "2"]


def test_a_file_goes_with_the_last_upload_that_needs_it(store: LocalArtifacts, folder: Path) -> None:
    artifact = keep(store, b"equal", "1")
    keep(store, b"equal", "2")
    assert store.delete("1") == 0
    assert store.download(artifact.uri) == b"equal"
    assert store.delete("2") == len(b"equal")
    assert files(folder) == []
    assert store.delete("2") == 0
    with pytest.raises(NotFound):
        store.metadata(artifact.uri)


def test_what_deaths_left_behind_is_swept(store: LocalArtifacts, folder: Path) -> None:
    artifact = keep(store, b"counted")
    orphan = folder / "sha256" / "ab" / ("c" * 62)
    orphan.parent.mkdir()
    orphan.write_bytes(b"12345")
    old, fresh = folder / "writing" / "old", folder / "writing" / "fresh"
    old.write_bytes(b"123")
    os.utime(old, (0, 0))
    fresh.write_bytes(b"1")
    assert store.sweep() == 8
    assert sorted(files(folder)) == sorted([fresh, *files(folder / "sha256")])
    assert store.download(artifact.uri) == b"counted"


def test_uploads_and_deletes_of_equal_contents_at_once_leave_nothing_dangling(store: LocalArtifacts) -> None:
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for turn in range(8):
                artifact = keep(store, b"equal", f"{worker}/{turn}")
                assert store.download(artifact.uri) == b"equal"
                store.delete(f"{worker}/{turn}")
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.list_artifacts() == []


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = open_services(tmp_path / "home")
    store = LocalArtifacts(database, tmp_path / "file" / "artifacts")
    with pytest.raises(EnvironmentFault, match="file/artifacts cannot be read or written"):
        keep(store, b"x")
    assert store.list_artifacts() == []
    database.close()
