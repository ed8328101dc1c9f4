"""A folder whose files can be reached by no path that leads outside it, whatever is swapped meanwhile.

Every path is resolved beneath the folder's descriptor (:mod:`necrocode.coder.tools.resolving`), and what was opened is
used by its descriptor, never by its name again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from necrocode.coder.tools.resolving import has_openat2, open_beneath, open_walking
from necrocode.disk import disk_trouble
from necrocode.engine.errors import EnvironmentFault

#: Folders nested deeper than this are not walked: each level holds a descriptor.
_MAX_DEPTH = 100
#: Files larger than this are neither read nor written.
MAX_FILE_BYTES = 1024 * 1024


class Refused(Exception):
    """A path or a file that the tools do not touch: the message is meant for the model."""


class Beneath:
    """The files below ``root``, by relative POSIX paths. A context manager; holds one descriptor.

    ``openat2=False`` forces the walk. Every method raises :class:`Refused` for a path that leaves the folder, names
    ``.git`` in any spelling (through a link too), or cannot be used as asked.
    """

    def __init__(self, root: Path, *, openat2: bool | None = None) -> None:
        self._root = os.path.realpath(root)
        self._given = os.path.abspath(root)  # noqa: PTH100 -- the spelling as given, links kept
        try:
            self._fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise EnvironmentFault(
                f"The slot {root} cannot be opened: {error.strerror}.", stop_reason="slot_unusable"
            ) from error
        self._openat2 = has_openat2() if openat2 is None else openat2

    def __enter__(self) -> Beneath:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def relative(self, path: str) -> str:
        """``path`` in its plain relative form (``.`` is the folder itself).

        An absolute path is taken when it starts with the folder's own.
        """
        if "\0" in path or not path.strip():
            raise Refused("the path is empty or holds a NUL character")
        try:
            path.encode()
        except UnicodeEncodeError:
            raise Refused("the path holds characters that are not valid Unicode") from None
        if path.startswith("/"):
            path = self._without_root(path)
        plain = posixpath.normpath(path)
        if plain == ".." or plain.startswith("../"):
            raise Refused(f"{path} is outside the repository; use paths relative to its root")
        _refuse_git(plain)
        return plain

    def read(self, path: str, *, limit: int = MAX_FILE_BYTES) -> tuple[bytes, os.stat_result]:
        """Content and status of the regular file at ``path``, no longer than ``limit`` bytes."""
        plain = self.relative(path)
        fd = self._open_regular(plain, plain)
        with open(fd, "rb") as file:  # noqa: PTH123 -- a descriptor, not a path
            status = os.fstat(fd)
            if status.st_size > limit:
                raise Refused(f"{plain} is too large ({status.st_size:,} bytes; the limit is {limit:,})")
            content = file.read(limit + 1)
        if len(content) > limit:
            raise Refused(f"{plain} is too large (more than {limit:,} bytes)")
        return content, status

    def exists(self, path: str) -> bool:
        """Whether something is at ``path`` (a link that leads nowhere or outside is nothing)."""
        try:
            os.close(self._open(self.relative(path), os.O_PATH))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _refused(error, path) from error
        return True

    def names(self, path: str) -> list[str]:
        """Names in the directory at ``path``, directories with a ``/`` at their end, sorted, without ``.git``."""
        plain = self.relative(path)
        fd = self._open_or_refuse(plain, os.O_RDONLY | os.O_DIRECTORY, plain)
        try:
            with os.scandir(fd) as entries:
                return sorted(
                    entry.name + "/" * entry.is_dir(follow_symlinks=False)
                    for entry in entries
                    if not is_git(entry.name)
                )
        finally:
            os.close(fd)

    def write(self, path: str, content: bytes, *, mode: int | None = None) -> str:
        """Replace or create the regular file at ``path``, keeping an existing one's permissions; folders are made.

        ``mode`` is for a new one; ``None``: as the process makes them.

        The file is complete or untouched at every moment. Returns where it really is: links inside the folder are
        followed, so that is not always ``path``.
        """
        plain = self.relative(path)
        if plain == ".":
            raise Refused("the path names the repository's root, not a file")
        if len(content) > MAX_FILE_BYTES:
            raise Refused(f"the content is too large ({len(content):,} bytes; the limit is {MAX_FILE_BYTES:,})")
        real, kept = self._destination(plain)
        folder, name = posixpath.split(real)
        fd = self._folder(folder or ".", plain)
        try:
            self._replace(fd, name, content, mode if kept is None else kept)
        except OSError as error:
            raise _refused(error, plain) from error
        finally:
            os.close(fd)
        return real

    def remove(self, path: str) -> str:
        """Delete the file or link at ``path``; returns its plain form."""
        plain = self.relative(path)
        folder, name = posixpath.split(plain)
        if not name or plain == ".":
            raise Refused("the path names the repository's root, not a file")
        fd = self._open_or_refuse(folder or ".", os.O_PATH | os.O_DIRECTORY, plain)
        try:
            where = posixpath.normpath(posixpath.join(self._place(fd, plain), name))
            os.unlink(name, dir_fd=fd)
        except OSError as error:
            raise _refused(error, plain) from error
        finally:
            os.close(fd)
        return where

    def walk(self, path: str = ".") -> Iterator[tuple[str, list[str], list[str], int]]:
        """Like :func:`os.fwalk`, top down: ``(folder, folder names, file names, descriptor)``, names sorted.

        Links are not followed and are listed nowhere; ``.git`` is left out. Removing a folder's name skips it. The
        descriptor is closed when the next item is asked for.
        """
        plain = self.relative(path)
        fd = self._open_or_refuse(plain, os.O_RDONLY | os.O_DIRECTORY, plain)
        yield from _walk(fd, "" if plain == "." else plain)

    # --- opening

    def _open(self, plain: str, flags: int) -> int:
        resolve = open_beneath if self._openat2 else open_walking
        fd = resolve(self._fd, plain, flags | os.O_CLOEXEC)
        try:
            _refuse_git(self._place(fd, plain))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _open_or_refuse(self, plain: str, flags: int, asked: str) -> int:
        try:
            return self._open(plain, flags)
        except OSError as error:
            raise _refused(error, asked) from error

    def _open_regular(self, plain: str, asked: str) -> int:
        # O_NONBLOCK: opening a FIFO that nobody writes to must not hang
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        fd = self._open_or_refuse(plain, flags, asked)
        kind = os.fstat(fd).st_mode
        if not stat.S_ISREG(kind):
            os.close(fd)
            raise Refused(f"{asked} is {_kind(kind)}, not a regular file")
        return fd

    def _place(self, fd: int, asked: str) -> str:
        """Where ``fd`` really is, relative to the folder."""
        here, root = _path_of(fd), _path_of(self._fd)
        if here == root:
            return "."
        # of what was unlinked meanwhile the kernel shows a made-up name
        if not here.startswith(root.rstrip("/") + "/") or os.fstat(fd).st_nlink == 0:
            raise Refused(f"{asked} is outside the repository, or was moved or deleted meanwhile")
        return here[len(root.rstrip("/")) + 1 :]

    def _destination(self, plain: str) -> tuple[str, int | None]:
        try:
            fd = self._open(plain, os.O_PATH)
        except FileNotFoundError:
            return self._new_place(plain), None
        except OSError as error:
            raise _refused(error, plain) from error
        try:
            kind = os.fstat(fd).st_mode
            if not stat.S_ISREG(kind):
                raise Refused(f"{plain} is {_kind(kind)}, not a regular file")
            return self._place(fd, plain), stat.S_IMODE(kind) & 0o777
        finally:
            os.close(fd)

    def _new_place(self, plain: str) -> str:
        """Where a file that is not there yet would be: its deepest existing folder, really, and the rest."""
        folder, rest = posixpath.split(plain)
        while True:
            try:
                fd = self._open(folder or ".", os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                folder, name = posixpath.split(folder)
                rest = posixpath.join(name, rest)
                continue
            except OSError as error:
                raise _refused(error, plain) from error
            try:
                return posixpath.normpath(posixpath.join(self._place(fd, plain), rest))
            finally:
                os.close(fd)

    def _folder(self, folder: str, asked: str) -> int:
        """The folder opened without a link on its way, made where it is missing."""
        fd = self._open_or_refuse(".", os.O_PATH | os.O_DIRECTORY, asked)
        for name in [] if folder == "." else folder.split("/"):
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=fd)
                below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            except OSError as error:
                raise _refused(error, asked) from error
            finally:
                os.close(fd)
            fd = below
        try:
            _refuse_git(self._place(fd, asked))
        except BaseException:
            os.close(fd)
            raise
        return fd

    @staticmethod
    def _replace(folder: int, name: str, content: bytes, mode: int | None) -> None:
        draft = f".necrocode-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(draft, flags, 0o666, dir_fd=folder)
        try:
            with open(fd, "wb") as file:  # noqa: PTH123 -- a descriptor, not a path
                file.write(content)
                if mode is not None:
                    os.fchmod(fd, mode)
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)
            raise

    def _without_root(self, path: str) -> str:
        plain = posixpath.normpath(path)
        for root in (self._given, self._root):
            if plain == root:
                return "."
            if plain.startswith(root.rstrip("/") + "/"):
                return plain[len(root.rstrip("/")) + 1 :]
        raise Refused(f"{path} is an absolute path outside the repository; use paths relative to its root")


def is_git(name: str) -> bool:
    """Whether ``name`` is ``.git`` in a spelling that some file system or git itself takes for it."""
    return name.casefold().rstrip(". ") in (".git", "git~1")


def _walk(fd: int, folder: str) -> Iterator[tuple[str, list[str], list[str], int]]:
    try:
        folders: list[str] = []
        files: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if is_git(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
        folders.sort()
        files.sort()
        yield folder, folders, files, fd
        for name in folders if folder.count("/") < _MAX_DEPTH else ():
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            except OSError:
                continue  # gone, swapped for something else, or not ours to read
            yield from _walk(below, f"{folder}/{name}" if folder else name)
    finally:
        os.close(fd)


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 -- not a path of the folder


def _refuse_git(plain: str) -> None:
    if any(is_git(part) for part in plain.split("/")):
        raise Refused(f"{plain}: git's own files are not for the tools")


def _refused(error: OSError, path: str) -> Refused:
    if error.errno in (errno.EXDEV, errno.EAGAIN):
        return Refused(f"{path} leads outside the repository")
    if error.errno == errno.ELOOP:
        return Refused(f"{path} goes through a symbolic link that cannot be followed")
    if error.errno == errno.ENOENT:
        return Refused(f"{path} does not exist")
    trouble = disk_trouble(Path(path), error)
    if trouble is not None:
        raise trouble from error
    if error.errno in (errno.EMFILE, errno.ENFILE):
        raise EnvironmentFault(f"{path}: {os.strerror(error.errno)}.", stop_reason="slot_unusable") from error
    return Refused(f"{path}: {os.strerror(error.errno or 0)}")


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")
