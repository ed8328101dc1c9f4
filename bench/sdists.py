"""Source distributions from the package index: fetched by the installed pip, and unpacked; nothing of them is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

#: Seconds for one package.
PATIENCE = 120

_BACKEND = '''"""Stands in for a build backend: tells what the package says of itself, and builds nothing."""

import email
from pathlib import Path


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    told = Path("PKG-INFO").read_bytes()
    head = email.message_from_bytes(told)
    folder = Path(metadata_directory, f"{head['Name'].replace('-', '_')}-{head['Version']}.dist-info")
    folder.mkdir()
    folder.joinpath("METADATA").write_bytes(told)
    folder.joinpath("WHEEL").write_text("Wheel-Version: 1.0\\n")
    return folder.name
'''
_BACKENDS: Mapping[str, str] = {
    "setuptools/build_meta.py": _BACKEND + "\n\nclass __legacy__:\n"
    "    get_requires_for_build_wheel = staticmethod(get_requires_for_build_wheel)\n"
    "    prepare_metadata_for_build_wheel = staticmethod(prepare_metadata_for_build_wheel)\n",
    "setuptools/__init__.py": "",
    "flit_core/buildapi.py": _BACKEND,
    "hatchling/build.py": _BACKEND,
    "poetry/core/masonry/api.py": _BACKEND,
    "pdm/backend/__init__.py": _BACKEND,
}
"""pip wants to know a package's metadata before it hands it out, and asks the package's backend: this one answers in
its place. Installing the real ones takes longer than all the rest, and their code, like the package's, is not needed.
"""


class NoIndex(Exception):
    """The package index cannot be reached."""


def fetch(package: str, version: str, folder: Path) -> Path:
    """The unpacked source distribution of ``package`` in ``version``, below ``folder``.

    Raises :class:`NoIndex` if the index cannot be reached, ``RuntimeError`` with pip's words if it does not have that
    version, or pip fails otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="necrocode-sdist-") as name:
        root = Path(name)
        for place, content in _BACKENDS.items():
            (root / "backends" / place).parent.mkdir(parents=True, exist_ok=True)
            (root / "backends" / place).write_text(content, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--no-binary", package, "--no-build-isolation", "--use-pep517"]
        done = subprocess.run(
            [*command, "--retries", "1", "--dest", str(root / "got"), f"{package}=={version}"],
            env=os.environ | {"PYTHONPATH": str(root / "backends")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        if done.returncode != 0:
            # pip tells a version that is not there in the same words, but then names those that are
            if _UNREACHED.search(done.stderr):
                raise NoIndex(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
            raise RuntimeError(f"pip could not fetch {package} {version}:\n{done.stderr.strip()}")
        (archive,) = (root / "got").iterdir()
        with tarfile.open(archive) as packed:
            # nothing outside the folder, no devices, no links that lead out of it
            packed.extractall(folder, filter="data")
            top = packed.getnames()[0].split("/")[0]
    return folder / top


_UNREACHED = re.compile(
    r"NewConnectionError|ConnectTimeout|Max retries exceeded|Connection broken|\(from versions: none\)"
)
