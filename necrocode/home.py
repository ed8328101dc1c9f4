"""The home: the folder in which a machine's runs, slots and artifacts live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.folders import make_folder


class HomeUnusable(EnvironmentFault):
    """The home cannot be made or written."""

    stop_reason = "home_unusable"


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything is, below ``root`` (absolute)."""

    root: Path

    @property
    def journal(self) -> Path:
        """The journal's database file."""
        return self.root / "journal.db"

    @property
    def services(self) -> Path:
        """The database file of the embedded services."""
        return self.root / "services.db"

    @property
    def commands(self) -> Path:
        """A folder for each command that runs or has not been forgotten."""
        return self.root / "commands"

    @property
    def repos(self) -> Path:
        """Object caches, slots and snapshot stores, by repository."""
        return self.root / "repos"

    @property
    def artifacts(self) -> Path:
        """The embedded artifact store's contents."""
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        """One log file a run."""
        return self.root / "logs"

    @property
    def outputs(self) -> Path:
        """Whole outputs of commands that were too long for their results, a folder a run."""
        return self.root / "outputs"

    @property
    def locks(self) -> Path:
        """Lock files."""
        return self.root / "locks"

    def log_of(self, run_id: str) -> Path:
        """The log file of a run."""
        return self.logs / f"{run_id}.log"

    def make(self) -> Home:
        """Make what is missing, for its owner only, and see that it can be written. Raises :class:`HomeUnusable`."""
        for folder in (self.root, self.commands, self.repos, self.artifacts, self.logs, self.locks):
            try:
                make_folder(folder)
            except OSError as error:
                raise HomeUnusable(_explained(folder, error)) from error
        probe = self.locks / ".probe"
        try:
            probe.touch(mode=0o600)
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise HomeUnusable(_explained(self.locks, error)) from error
        return self


def default_home(environ: Mapping[str, str]) -> Path:
    """``$XDG_DATA_HOME/necrocode``, or ``~/.local/share/necrocode`` where that is not set to an absolute path."""
    data = environ.get("XDG_DATA_HOME", "")
    # the XDG specification has relative paths ignored
    if Path(data).is_absolute():
        return Path(data) / "necrocode"
    own = environ.get("HOME", "")
    try:
        folder = Path(own) if Path(own).is_absolute() else Path.home()
    except RuntimeError as error:
        raise HomeUnusable("there is no home folder: name one with --home or NECROCODE_HOME") from error
    return folder / ".local" / "share" / "necrocode"


def _explained(folder: Path, error: OSError) -> str:
    words = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        words = "a file is in the way"
    return f"cannot write in {folder}: {words}; name another folder with --home or NECROCODE_HOME"
