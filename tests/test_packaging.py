"""What the distribution says about itself is what is there."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = {"necrocode.engine", "necrocode.states", "necrocode.migrations"}
"""What the layer contracts are about, and what has no code of ours to import."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_there() -> set[str]:
    """The packages that lie in the tree, named as they are imported."""
    found = {"necrocode", "necrocode.migrations", "necrocode.migrations.versions"}
    for name, top in (
        ("necrocode", ROOT / "necrocode"),
        ("necrocode.engine", ROOT / "engine"),
        ("necrocode.states", ROOT / "states"),
    ):
        for marker in top.rglob("__init__.py"):
            parts = marker.parent.relative_to(top).parts
            # the three links lead to what is looked at by itself
            if not parts or not (top / parts[0]).is_symlink():
                found.add(".".join((name, *parts)))
    return found


def test_every_package_in_the_tree_is_shipped_and_no_other(project: dict[str, Any]) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == packages_there()


def test_the_links_lead_to_the_folders_that_the_wheel_maps(project: dict[str, Any]) -> None:
    mapped = project["tool"]["setuptools"]["package-dir"]
    for name, folder in mapped.items():
        link = ROOT / name.replace(".", "/")
        assert link.is_symlink() and link.resolve() == (ROOT / folder).resolve()
        assert str(link.readlink()) == f"../{folder}"
    assert set(mapped) == LAYERS
    # with one, the library of that name would be shadowed
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_every_data_file_is_shipped(project: dict[str, Any]) -> None:
    shipped = project["tool"]["setuptools"]["package-data"]
    covered = set()
    for package, patterns in shipped.items():
        folder = ROOT / package.replace(".", "/")
        for pattern in patterns:
            matched = {path.resolve() for path in folder.glob(pattern)}
            assert matched, f"{package}: {pattern} matches nothing"
            covered |= matched
    there = {
        path.resolve()
        for top in ("necrocode", "engine", "states", "alembic")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    }
    assert there == covered


def test_extras_mirror_the_dependency_groups(project: dict[str, Any]) -> None:
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    assert {name: extras[name] for name in groups} == groups


def test_constraints_pin_everything_exactly_without_addresses(project: dict[str, Any]) -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ;.*)?", line), line
    assert "://" not in "\n".join(lines)
    pinned = {_normal(line.partition("==")[0]) for line in lines if "==" in line}
    groups = project["dependency-groups"].values()
    for requirement in itertools.chain(project["project"]["dependencies"], *groups):
        assert _normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) in pinned, requirement


def test_no_layer_below_may_import_any_package_above(project: dict[str, Any]) -> None:
    contracts = project["tool"]["importlinter"]["contracts"]
    forbidden = {tuple(each["source_modules"]): set(each["forbidden_modules"]) for each in contracts}
    above = {name for name in packages_there() if name.count(".") == 1} - LAYERS
    named = forbidden[("necrocode.engine", "necrocode.states")]
    assert above <= named
    assert forbidden[("necrocode.engine",)] == {"necrocode.states"}
    for name in named - above:
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), f"{name} is not there"


def test_the_command_and_the_oldest_python_are_what_the_code_says(project: dict[str, Any]) -> None:
    from necrocode.cli import main

    assert project["project"]["scripts"] == {"necrocode": "necrocode.cli:main"}
    assert callable(main)
    assert project["project"]["requires-python"] == ">=3.11"
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert (ROOT / project["project"]["readme"]).is_file()
    assert all((ROOT / name).is_file() for name in project["project"]["license-files"])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
