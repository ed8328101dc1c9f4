"""The clean environment of a command: what it needs to find its tools, and nothing else of the runner's."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Collection, Mapping

from necrocode.states.ports import CommandSpec

#: Where tools live, for the tools that ask (taken over where set; the folders are made readable in the sandbox).
TOOLCHAIN_VARIABLES = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYENV_ROOT",
    "NVM_DIR",
    "VOLTA_HOME",
    "FNM_DIR",
    "BUN_INSTALL",
    "PNPM_HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "GOROOT",
    "GOPATH",
    "JAVA_HOME",
    "MAVEN_HOME",
    "GRADLE_HOME",
    "ANDROID_HOME",
    "DOTNET_ROOT",
    "GEM_HOME",
    "RBENV_ROOT",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "SDKMAN_DIR",
    "MISE_DATA_DIR",
)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Found again in /proc/PID/environ when whoever watched a command is gone.
COMMAND_VARIABLE = "NECROCODE_COMMAND_ID"
RUN_VARIABLE = "NECROCODE_RUN_ID"
SCOPE_VARIABLE = "NECROCODE_SCOPE"

_LOCALE_VARIABLES = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE")


def search_path(source: Mapping[str, str]) -> str:
    """The runner's PATH without relative folders, or the usual one."""
    folders = [folder for folder in source.get("PATH", "").split(":") if folder.startswith("/")]
    return ":".join(dict.fromkeys(folders)) or DEFAULT_PATH


def clean_environment(
    spec: CommandSpec,
    *,
    source: Mapping[str, str],
    home: str,
    temporary: str,
    shell: str,
    scope: str,
    secret_names: Collection[str],
    mask: Callable[[str], str],
) -> dict[str, str]:
    """The environment of ``spec``'s command, built from the runner's own (``source``).

    ``spec.pass_env`` takes over named variables but the ones in ``secret_names``; a variable of any origin whose value
    holds a loaded credential (``mask`` would change it) is left out.
    """
    found = {name: source[name] for name in (*_LOCALE_VARIABLES, "TZ", *TOOLCHAIN_VARIABLES) if source.get(name)}
    if not found.keys() & {"LANG", "LC_ALL"}:
        found["LANG"] = "C.UTF-8"
    found |= {
        "PATH": search_path(source),
        "HOME": home,
        "TMPDIR": temporary,
        "USER": source.get("USER") or _user_name(),
        "SHELL": shell,
        "TERM": "dumb",
        "CI": "1",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
    }
    found["LOGNAME"] = found["USER"]
    found |= {name: source[name] for name in spec.pass_env if name in source and name not in secret_names}
    found |= spec.env
    found = {name: value for name, value in found.items() if mask(value) == value}
    return found | marks(spec.command_id, spec.run_id, scope)


def marks(command_id: str, run_id: str, scope: str) -> dict[str, str]:
    """The variables by which a command's processes are recognised."""
    return {COMMAND_VARIABLE: command_id, RUN_VARIABLE: run_id, SCOPE_VARIABLE: scope}


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry in passwd and no variable that says it
        return str(os.getuid())
