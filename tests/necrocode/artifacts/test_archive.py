"""Versions, and artifacts as a ZIP file."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.artifacts.archive import archive_paths, export
from necrocode.artifacts.local import LocalArtifacts
from necrocode.artifacts.stored import StoredArtifact, Version, numbered
from necrocode.embedded.database import open_services
from necrocode.engine.errors import EnvironmentFault
from necrocode.errors import DamagedArtifact, InvalidInput
from necrocode.states.ports import Artifact

AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalArtifacts]:
    database = open_services(tmp_path / "home")
    yield LocalArtifacts(database, tmp_path / "artifacts")
    database.close()


def keep(store: LocalArtifacts, content: bytes, name: str = "x.log", *, minute: int = 0, **metadata: Any) -> Artifact:
    at = AT + timedelta(minutes=minute)
    key = f"{name}/{minute}/{sorted(metadata.items())}"
    return store.upload(content, type="log", name=name, metadata={"run_id": "r", **metadata}, at=at, key=key)


def versions(store: LocalArtifacts) -> list[Version]:
    return numbered((stored, store) for stored in store.list_artifacts())


def made_up(name: str, *, type: str = "log", run: str | None = "r", number: int = 1) -> Version:
    artifact = Artifact(type, "file:///x", 0, "0" * 64, AT, {"run_id": run} if run else {})
    return Version(number, StoredArtifact("k", name, artifact), None)  # type: ignore[arg-type]


def test_uploads_of_a_task_are_versions_in_the_order_of_their_creation(store: LocalArtifacts) -> None:
    task = {"spec_name": "s", "task_id": "1"}
    keep(store, b"third", minute=3, **task, run_id="c")
    keep(store, b"first", minute=1, **task, run_id="a")
    keep(store, b"second", minute=2, **task, run_id="b")
    keep(store, b"another name", "y.log", minute=4, **task)
    keep(store, b"another task", minute=5, spec_name="s", task_id="2")
    keep(store, b"of a run alone", minute=6)
    keep(store, b"of that run, later", minute=7)
    found = [(version.number, version.stored.run_id, version.stored.name) for version in versions(store)]
    assert found == [
        (1, "a", "x.log"),
        (2, "b", "x.log"),
        (3, "c", "x.log"),
        (1, "r", "y.log"),
        (1, "r", "x.log"),
        (1, "r", "x.log"),
        (2, "r", "x.log"),
    ]
    shown = versions(store)[1].to_json()
    assert (shown["version"], shown["task"], shown["run_id"]) == (2, "s/1", "b")


def test_the_archive_holds_a_manifest_and_every_file(store: LocalArtifacts, tmp_path: Path) -> None:
    keep(store, b"one", minute=1)
    keep(store, b"two", minute=2)
    keep(store, b"", "ä ö.diff", minute=3)
    target = tmp_path / "out.zip"
    size = export(versions(store), target)
    assert size == target.stat().st_size
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))["artifacts"]
        assert [each["path"] for each in manifest] == ["r/log/1-x.log", "r/log/2-x.log", "r/log/1-ä ö.diff"]
        for each in manifest:
            assert hashlib.sha256(archive.read(each["path"])).hexdigest() == each["sha256"]
        assert manifest[0] == {**versions(store)[0].to_json(), "path": "r/log/1-x.log"}
        assert archive.getinfo("r/log/1-x.log").date_time == (2026, 11, 22, 10, 31, 0)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_is_there_is_not_replaced_unless_forced(store: LocalArtifacts, tmp_path: Path) -> None:
    keep(store, b"one")
    target = tmp_path / "out.zip"
    target.write_text("mine")
    with pytest.raises(InvalidInput, match="--force replaces it"):
        export(versions(store), target)
    assert target.read_text() == "mine"
    export(versions(store), target, force=True)
    assert zipfile.is_zipfile(target)
    with pytest.raises(InvalidInput, match="is a folder"):
        export([], tmp_path, force=True)


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_damaged_artifact_is_named_and_nothing_is_left(store: LocalArtifacts, tmp_path: Path, harm: str) -> None:
    keep(store, b"whole", "a.log")
    bad = keep(store, b"harmed", "b.log", minute=1)
    path = Path(bad.uri.removeprefix("file://"))
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(b"HARMED")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DamagedArtifact, match=r"r/log/1-b\.log"):
        export(versions(store), tmp_path / "out.zip")
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"out\.zip cannot be read or written: No such file"):
        export([], tmp_path / "missing" / "out.zip")


class _Large:
    """A store of one artifact that is never there as a whole."""

    def pieces(self, uri: str) -> Iterator[bytes]:
        del uri
        for _ in range(50):
            yield bytes(1024 * 1024)


def test_an_artifact_is_never_held_as_a_whole(tmp_path: Path) -> None:
    large = Version(1, made_up("large.log").stored, _Large())  # type: ignore[arg-type]
    tracemalloc.start()
    export([large], tmp_path / "out.zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 1024 * 1024
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.getinfo("r/log/1-large.log").file_size == 50 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("../../etc/passwd", "r/log/1-__.._etc_passwd"),
        ("/etc/passwd", "r/log/1-_etc_passwd"),
        ("..", "r/log/1-_"),
        ("C:\\x\\y", "r/log/1-C__x_y"),
        ("a\nb\0c", "r/log/1-a_b_c"),
        ("", "r/log/1-_"),
        ("x" * 500 + ".log", f"r/log/1-{'x' * 116}.log"),
        ("\udc80", "r/log/1-_"),
    ],
)
def test_names_are_made_safe(name: str, path: str) -> None:
    assert archive_paths([made_up(name)]) == [path]


def test_no_two_names_are_alike() -> None:
    alike = [made_up("a/b"), made_up("a_b"), made_up("A_B"), made_up("x", run="manifest.json"), made_up("x", run=None)]
    assert archive_paths(alike) == [
        "r/log/1-a_b",
        "r/log/1.2-a_b",
        "r/log/1.3-A_B",
        "_manifest.json/log/1-x",
        "no-run/log/1-x",
    ]


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=5))
def test_no_name_leads_out_of_the_archive(names: list[tuple[str, str, str]]) -> None:
    paths = archive_paths([made_up(name, type=type, run=run) for name, type, run in names])
    assert len({path.lower() for path in paths}) == len(names)
    for path in paths:
        parts = path.split("/")
        assert len(parts) == 3
        for part in parts:
            assert part.strip(". ") and "\\" not in part and "\0" not in part and len(part.encode()) < 255
