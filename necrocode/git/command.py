"""The git command: run with hooks off, no terminal, a clean environment, a timeout, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from necrocode.engine.errors import EnvironmentFault, Transient
from necrocode.engine.stop import StopToken

LOCAL_TIMEOUT = timedelta(minutes=10)
"""For git on our own repositories."""

_POLL = 0.05
_MAX_WORDS = 2_000
#: What of our own environment reaches git: enough for the user's helpers, ssh, proxies and certificates, and no
#: ``GIT_DIR`` or the like from a hook or a shell that we were started from.
_PASSED = re.compile(
    r"(PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|XDG_.*|SSH_AUTH_SOCK|SSH_AGENT_PID|GNUPGHOME|KRB5CCNAME|KRB5_CONFIG"
    r"|DBUS_SESSION_BUS_ADDRESS|GCM_.*|(?i:(https?|ftp|all|no)_proxy)|SSL_CERT_FILE|SSL_CERT_DIR|CURL_CA_BUNDLE"
    r"|LD_LIBRARY_PATH|SYSTEMROOT|GIT_SSL_.*|GIT_SSH|GIT_SSH_COMMAND|GIT_SSH_VARIANT|GIT_PROXY_COMMAND|GIT_PROXY_SSL_.*"
    r"|GIT_CONFIG_GLOBAL|GIT_CONFIG_SYSTEM|GIT_CONFIG_NOSYSTEM|GIT_CONFIG_COUNT|GIT_CONFIG_KEY_\d+|GIT_CONFIG_VALUE_\d+"
    r"|GIT_EXEC_PATH|GIT_HTTP_USER_AGENT|GIT_HTTP_LOW_SPEED_.*)\Z"
)
_ALWAYS = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "protocol.ext.allow=never",
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "advice.detachedHead=false",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GitResult:
    """How a git command ended."""

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def ok(self) -> bool:
        """It succeeded."""
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Login:
    """What git may answer a server that asks who we are, and the only server that may hear it."""

    host: str
    username: str
    #: Called when a command needs it; the value lives in memory only.
    password: Callable[[], str | None]


def run_git(
    arguments: Sequence[str],
    *,
    git_dir: Path | None = None,
    stdin: bytes | None = None,
    timeout: timedelta = LOCAL_TIMEOUT,
    stop: StopToken | None = None,
    login: Login | None = None,
    askpass: Path | None = None,
    users_settings: bool = False,
) -> GitResult:
    """Run git and wait for its end.

    ``users_settings``: let the user's git configuration count (helpers, insteadOf), as it must for the network.
    ``login`` is offered through the helper at ``askpass`` (made if need be), over an inherited descriptor.
    Raises :class:`Transient` ``git_timeout``, :class:`EnvironmentFault` ``no_git``, or the stop signal, the whole
    process group being dead by then.
    """
    environment = _environment(os.environ, users_settings=users_settings)
    command = ["git", *_ALWAYS]
    with contextlib.ExitStack() as stack:
        descriptors: tuple[int, ...] = ()
        if login is not None and askpass is not None and (password := login.password()):
            descriptor = stack.enter_context(_told(password))
            descriptors = (descriptor,)
            make_askpass(askpass)
            environment |= {
                "GIT_ASKPASS": str(askpass),
                "NECROCODE_ASKPASS_FD": str(descriptor),
                "NECROCODE_ASKPASS_HOST": login.host,
                "NECROCODE_ASKPASS_USER": login.username,
            }
            # The configured token counts, not what some helper remembers.
            command += ["-c", "credential.helper="]
        if git_dir is not None:
            command += [f"--git-dir={git_dir}"]
        try:
            process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                pass_fds=descriptors,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise EnvironmentFault("the git command is not installed, or not in PATH", stop_reason="no_git") from error
        return _wait(process, arguments[0], stdin, timeout, stop)


def words(text: str) -> str:
    """git's or a server's words as a message may hold them: no credentials in URLs, no control characters, bounded."""
    text = re.sub(r"://[^/\s'\"@]*@", "://", text)
    lines = ["".join(c for c in line if c.isprintable() or c == "\t").rstrip() for line in re.split(r"[\r\n]+", text)]
    text = "; ".join(line for line in lines if line)
    return text if len(text) <= _MAX_WORDS else f"{text[: _MAX_WORDS // 2]} … {text[-_MAX_WORDS // 2 :]}"


def make_askpass(path: Path) -> None:
    """The helper that git asks for a login. Holds no secret: it reads one from the descriptor it inherits."""
    if path.is_file() and path.read_text(encoding="ascii") == _ASKPASS:
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(_ASKPASS, encoding="ascii")
    temporary.chmod(0o700)
    temporary.replace(path)


#: Prompts: Username for 'https://host': / Password for 'https://user@host': . Asked for another host, or a plainer
#: protocol than the URL's, it says nothing.
_ASKPASS = """\
#!/bin/sh
url=${1#*\\'}
url=${url%\\'*}
case $url in
https://*) rest=${url#https://} ;;
http://*) rest=${url#http://}
  case $NECROCODE_ASKPASS_HOST in localhost|localhost:*|127.0.0.1|127.0.0.1:*|'[::1]'|'[::1]':*) ;; *) exit 1 ;; esac ;;
*) exit 1 ;;
esac
rest=${rest%%/*}
[ "${rest##*@}" = "$NECROCODE_ASKPASS_HOST" ] || exit 1
case $1 in
Username*) printf '%s\\n' "$NECROCODE_ASKPASS_USER" ;;
Password*) exec cat "/dev/fd/$NECROCODE_ASKPASS_FD" ;;
*) exit 1 ;;
esac
"""


def _environment(environ: Mapping[str, str], *, users_settings: bool) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if _PASSED.match(name)}
    if not users_settings:
        kept = {name: value for name, value in kept.items() if not name.startswith("GIT_CONFIG_")}
        kept |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    # An empty GIT_ASKPASS turns off core.askPass and SSH_ASKPASS: nobody sits there to answer a window.
    return kept | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "GIT_OPTIONAL_LOCKS": "0"}


@contextlib.contextmanager
def _told(password: str) -> Iterator[int]:
    """A descriptor that holds the password in memory; readable again and again through ``/dev/fd``."""
    descriptor = os.memfd_create("login", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, password.encode() + b"\n")
        yield descriptor
    finally:
        os.close(descriptor)


def _wait(
    process: subprocess.Popen[bytes], name: str, stdin: bytes | None, timeout: timedelta, stop: StopToken | None
) -> GitResult:
    left = timeout.total_seconds()
    given = stdin
    while True:
        try:
            # Called again after a timeout it goes on where it was; only the first call is given the input.
            stdout, stderr = process.communicate(given, timeout=min(_POLL, left) if stop is not None else left)
            return GitResult(process.returncode, stdout, stderr.decode("utf-8", "replace"))
        except subprocess.TimeoutExpired:
            left -= _POLL if stop is not None else left
            given = None
            signal_sent = stop.signal if stop is not None else None
            if signal_sent is None and left > 0:
                continue
            _kill(process)
            if signal_sent is not None:
                raise signal_sent from None
            raise Transient(
                f"git {name} did not end within {timeout.total_seconds():.0f} s", stop_reason="git_timeout"
            ) from None
        except BaseException:
            _kill(process)
            raise


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
