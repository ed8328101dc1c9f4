"""Everything that talks to a remote: what it has, fetching it into the object cache, pushing to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from necrocode.engine.database import file_lock
from necrocode.engine.errors import EnvironmentFault, TaskError, Transient
from necrocode.engine.folders import make_folder, sync_directory
from necrocode.engine.stop import StopToken
from necrocode.git.command import GitResult, Login, run_git, words
from necrocode.git.layout import RemoteUrl, RepoPlace
from necrocode.git.objects import LOCK_TIMEOUT, ObjectStore, make_bare

CACHED = "refs/necrocode/heads/"
"""Where the cache keeps the remote's branches: what such a ref stands on is there, and survives a power cut."""

_INCOMING = "refs/necrocode/incoming/"
"""Where a fetch puts them: of what these refs stand on, a power cut may have taken parts."""

NETWORK_TIMEOUT = timedelta(minutes=15)

_SHA1 = re.compile(r"[0-9a-f]{40}\Z")
_LOCKED = r"cannot lock ref|failed to (update|lock)|unable to (create|lock)|Another git process"
#: Longest first: the general words ("Could not read from remote repository") come along with the telling ones.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"Authentication failed|could not read (Username|Password)|Permission denied|Access denied|Invalid username"
        r"|terminal prompts disabled|returned error: 40[13]|Host key verification failed|Bad credentials"
        r"|invalid credentials|Unauthorized|No supported authentication",
        "git_auth",
    ),
    (
        r"[Rr]epository not found|does not appear to be a git repository|repository '[^']*' (not found|does not exist)"
        r"|returned error: 40[04]|returned error: 410|project you were looking for could not be found|does not exist",
        "repo_not_found",
    ),
    (
        r"mismatched algorithms|[Uu]nknown (hash algorithm|repository extension|ref storage)"
        r"|unsupported (hash|object format)|[Ee]xpected git repo version|unknown repository extensions"
        r"|shallow update not allowed|from a shallow|source repository is shallow|shallow roots"
        r"|transport '[^']*' not allowed|Unable to find remote helper",
        "unsupported_repo",
    ),
    (r"No space left on device|Disk quota exceeded", "disk_full"),
    (r"dubious ownership", "git_auth"),
)


@dataclass(frozen=True, slots=True)
class Advertised:
    """What a remote says it has. Commits by full ref name."""

    refs: Mapping[str, str]
    #: Full name of the branch that its HEAD stands for; ``None`` if it is detached, or the server is too old to say.
    default: str | None


class Remote:
    """One remote repository, and the object cache that mirrors what was needed of it.

    ``token`` is asked for a password only when git talks to the URL's own https host. ``stop`` ends a command in the
    middle. Errors are those of :meth:`necrocode.states.ports.Workspace.fetch`.
    """

    def __init__(
        self,
        url: RemoteUrl,
        place: RepoPlace,
        *,
        token: Callable[[], str | None] = lambda: None,
        mask: Callable[[str], str] = lambda text: text,
        stop: StopToken | None = None,
        timeout: timedelta = NETWORK_TIMEOUT,
    ) -> None:
        self.url = url
        self.place = place
        self._token = token
        self._mask = mask
        self._stop = stop
        self._timeout = timeout

    def prepare(self) -> None:
        """Make the cache and the snapshot store, if they are not there."""
        if self.place.cache.exists() and self.place.store.exists():
            return
        make_folder(self.place.path)
        with file_lock(self.place.lock, LOCK_TIMEOUT):
            make_bare(self.place.cache, alternates=None)
            make_bare(self.place.store, alternates=self.place.cache)

    def ask(self, *branches: str) -> Advertised:
        """What the remote has of HEAD and these branches now."""
        patterns = ["HEAD", *(f"refs/heads/{branch}" for branch in branches)]
        result = self._git(self.place.cache, "ls-remote", "--symref", "--", self.url.url, *patterns)
        if not result.ok:
            self.explain(result, "ls-remote")
        return self._advertised(result)

    def branch(self, name: str) -> str | None:
        """The commit of a branch on the remote now."""
        return self.ask(name).refs.get(f"refs/heads/{name}")

    def is_empty(self) -> bool:
        """Whether the remote has no branch at all."""
        result = self._git(self.place.cache, "ls-remote", "--heads", "--", self.url.url)
        if not result.ok:
            self.explain(result, "ls-remote")
        return not self._advertised(result).refs

    def fetch(self, advertised: Mapping[str, str]) -> None:
        """Bring branches (by full ref name) into the cache, unless their commits are there."""
        with file_lock(self.place.lock, LOCK_TIMEOUT):
            missing = [name for name, commit in advertised.items() if not self._cached(name, commit)]
            if not missing:
                return
            cache = ObjectStore(self.place.cache)
            # Left by a process that died: git would believe that all they stand on is there.
            _drop_incoming(cache)
            specs = [f"+{name}:{_INCOMING}{name.removeprefix('refs/heads/')}" for name in missing]
            result = self._git(
                self.place.cache, "-c", "fetch.fsckObjects=false", "-c", "core.fsync=all", "-c", "fetch.unpackLimit=1",
                "fetch", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--quiet", "--end-of-options",
                self.url.url, *specs,
            )  # fmt: skip
            # git says no more than this of a remote that is itself a shallow clone, and succeeds.
            if not result.ok or "shallow roots" in result.stderr:
                self.explain(result, "fetch")
            # git syncs files, not their names. All came in one pack, so that there is one folder to sync.
            sync_directory(self.place.cache / "objects" / "pack")
            for name, commit in cache.refs(_INCOMING).items():
                cache.set_ref(CACHED + name.removeprefix(_INCOMING), commit)
            _drop_incoming(cache)

    def push(self, commit: str, branch: str, expected: str | None) -> None:
        """Update the branch if it is ``expected`` there; see :meth:`necrocode.states.ports.Workspace.push`."""
        ref = f"refs/heads/{branch}"
        result = self._git(
            self.place.store, "-c", "push.negotiate=false", "push", "--porcelain", "--no-verify", "--no-signed",
            "--no-follow-tags", "--recurse-submodules=no", f"--force-with-lease={ref}:{expected or ''}", "--",
            self.url.url, f"{commit}:{ref}",
        )  # fmt: skip
        status = _pushed(result.stdout, ref)
        if result.ok and status is not None and status[0] in " +*=":
            return
        if status is None or status[0] != "!":
            self.explain(result, "push")
        # Refused: which of the reasons it is, the remote knows best, and by now it may have what we meant to give it.
        there = self.branch(branch)
        if there == commit:
            return
        remote_words = self._words("\n".join(line for line in result.stderr.splitlines() if line.startswith("remote:")))
        reason = self._mask(words(status[1]))
        if there != expected:
            what = f"is at {there}" if there else "does not exist"
            wanted = f"at {expected}" if expected else "not there"
            raise TaskError(
                f"the branch {branch} {what} on the remote, and should be {wanted}: it stays as it is",
                stop_reason="branch_exists",
            )
        said = reason + result.stderr
        # A branch named feature for ever forbids feature/x; another's lock on the ref passes.
        if "; cannot create" not in said and re.search(_LOCKED, said):
            raise Transient(
                f"the remote could not update {branch}: {reason} {remote_words}".strip(), stop_reason="git_failed"
            )
        raise TaskError(
            f"the remote refused the push to {branch}: {reason} {remote_words}".strip(), stop_reason="push_rejected"
        )

    def explain(self, result: GitResult, doing: str) -> NoReturn:
        """Raise what a failed command means."""
        said = self._words(result.stderr)
        where = self._mask(self.url.url)
        for pattern, reason in _MEANINGS:
            if re.search(pattern, result.stderr):
                message = f"{_WAY_OUT[reason].format(url=where)}: git {doing} said: {said}"
                if reason in ("repo_not_found", "unsupported_repo"):
                    raise TaskError(message, stop_reason=reason)
                raise EnvironmentFault(message, stop_reason=reason)
        raise Transient(
            f"git {doing} with {where} failed: {said or f'exit {result.exit_code}'}", stop_reason="git_failed"
        )

    def _git(self, git_dir: Path, *arguments: str) -> GitResult:
        return run_git(
            arguments,
            git_dir=git_dir,
            timeout=self._timeout,
            stop=self._stop,
            login=self._login(),
            askpass=self.place.path / "askpass",
            users_settings=True,
        )

    def _login(self) -> Login | None:
        if self.url.token_host is None:
            return None
        password = self.url.password
        return Login(
            host=self.url.token_host,
            username=self.url.username or "x-access-token",
            password=self._token if password is None else lambda: password,
        )

    def _advertised(self, result: GitResult) -> Advertised:
        refs: dict[str, str] = {}
        default = None
        for line in result.stdout.decode("utf-8", "surrogateescape").splitlines():
            value, _, name = line.partition("\t")
            if value.startswith("ref: "):
                default = value.removeprefix("ref: ") if name == "HEAD" else default
            elif _SHA1.match(value):
                refs[name] = value
            else:
                raise TaskError(
                    f"{self._mask(self.url.url)} is a sha256 repository, which is not supported yet",
                    stop_reason="unsupported_repo",
                )
        return Advertised(refs, default)

    def _cached(self, name: str, commit: str) -> bool:
        """Whether the cache has the branch at this commit, as one of its own refs (so that all below it is there)."""
        cache = ObjectStore(self.place.cache)
        if cache.ref(CACHED + name.removeprefix("refs/heads/")) != commit:
            return False
        try:
            cache.commit_of(commit)
        except EnvironmentFault:
            # lost or damaged: it is fetched again
            return False
        return True

    def _words(self, text: str) -> str:
        return self._mask(words(text))


_WAY_OUT = {
    "git_auth": "the login to {url} was refused (set GIT_TOKEN, or give an ssh key or credential helper, then resume)",
    "repo_not_found": "there is no repository at {url}, or it is not shown to this login",
    "unsupported_repo": "{url} is of a kind that is not supported",
    "disk_full": "no space left while talking to {url}; free some, then resume",
}


def _drop_incoming(cache: ObjectStore) -> None:
    for name in cache.refs(_INCOMING):
        cache.delete_ref(name)


def _pushed(stdout: bytes, ref: str) -> tuple[str, str] | None:
    """Flag and reason of one ref in ``push --porcelain``'s output."""
    for line in stdout.decode("utf-8", "replace").splitlines():
        fields = line.split("\t")
        if len(fields) >= 3 and fields[1].endswith(f":{ref}") and len(fields[0]) == 1:
            return fields[0], fields[2]
    return None
