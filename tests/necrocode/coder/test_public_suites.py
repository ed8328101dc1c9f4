"""Other projects' suites for edit formats pass on our reader, but for differences that are listed with their reasons.

``public_suites.json`` names the suites and the differences. The suites come from the package index, as their authors
publish them; nothing of them is kept here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.sdists import NoIndex, fetch

SUITES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("public_suites.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("suite", SUITES, ids=[suite["package"] for suite in SUITES])
def test_a_public_suite_passes_but_for_the_differences_that_are_listed(
    tmp_path: Path, suite: Mapping[str, Any]
) -> None:
    try:
        sources = fetch(suite["package"], suite["version"], tmp_path / "sources")
    except NoIndex as unreached:
        pytest.skip(str(unreached))

    results = played(sources / suite["file"], tmp_path)

    assert len(results) == suite["cases"], "all of its cases were tried"
    failed = {name: why for name, why in results.items() if why}
    unlisted = {name: why for name, why in failed.items() if name not in suite["differences"]}
    assert not unlisted, "it differs, and no reason is given"
    assert set(suite["differences"]) <= set(failed), "a difference is listed that is none any more"


def test_each_difference_has_its_reason() -> None:
    for suite in SUITES:
        assert suite["licence"] and suite["format"]
        assert all(len(reason) > 20 for reason in suite["differences"].values())


def played(file: Path, folder: Path) -> dict[str, str]:
    """The cases of a suite, and why each failed; empty where it passed."""
    report = folder / "report.xml"
    # away from its project, whose packages are named like ours
    file = Path(shutil.copy(file, folder / f"suite_{file.name}"))
    command = [sys.executable, "-m", "tests.necrocode.coder.public_suite", str(file), "-q", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, "--rootdir", str(file.parent), "--noconftest", f"--junitxml={report}"]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert report.exists(), done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        wrong = [*case.iter("failure"), *case.iter("error"), *case.iter("skipped")]
        found[str(case.get("name"))] = str(wrong[0].get("message")) if wrong else ""
    return found
