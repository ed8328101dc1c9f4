"""A copy of the pieces of /etc that a sandbox shows: one folder to be mounted instead of fifty.

Each mount costs bubblewrap a tenth of a millisecond and more, and every command pays for all of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from necrocode.commands.folder import DRAFT, litter

#: Mounted over where there is a network; the copy is read-only then, so its place must be there.
PLACES = ("resolv.conf",)


def etc_copy(into: Path, paths: Iterable[str], hosts: str) -> Path:
    """The folder below ``into`` that holds copies of ``paths`` (all below /etc), made if it is not there yet; and the
    text ``hosts`` as its file of that name, for where there is no network.

    Its name tells what was copied, so that a change of the machine's gives another folder, and commands under way keep
    theirs: a change of a file, or of a folder's list of names, which is how packages change one. What cannot be read is
    left out, as it could not be read in the sandbox either. Raises ``OSError``.
    """
    found = [Path(path) for path in paths if os.path.lexists(path)]
    digest = hashlib.sha256(hosts.encode("ascii") + b"\0")
    for path in found:
        digest.update(os.fsencode(_look(path)) + b"\0")
    place = into / digest.hexdigest()[:16]
    if place.is_dir():
        return place
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in litter(into):
        shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=into))
    try:
        for path in found:
            _copy(path, draft / path.relative_to("/etc"))
        (draft / "hosts").write_text(hosts, encoding="ascii")
        for name in PLACES:
            (draft / name).touch()
        draft.chmod(0o755)
        draft.rename(place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        if place.is_dir():
            # another process was faster
            return place
        raise
    return place


def _look(path: Path) -> str:
    """What is another once the content is; only of the piece itself, since every process looks."""
    try:
        status = path.stat()
    except OSError:
        return f"{path} unreadable"
    return f"{path} {status.st_mode} {status.st_size} {status.st_mtime_ns} {os.path.realpath(path)}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        # what a piece itself is a link to may not be there inside; links in it lead to its neighbours or into /usr
        mode = source.stat().st_mode
        if stat.S_ISDIR(mode):
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        elif stat.S_ISREG(mode):
            shutil.copy2(source, target)
    except (PermissionError, FileNotFoundError):
        return
    except shutil.Error as error:
        # Copies what it can, and tells the rest: of that, only what may not be read is expected.
        for _, _, why in error.args[0]:
            if "Permission denied" not in str(why):
                raise OSError(str(why)) from error
