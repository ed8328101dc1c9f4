"""Where the tools that PATH names really live: the folders that stay readable when the home is hidden."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from necrocode.commands.environment import TOOLCHAIN_VARIABLES, search_path

#: Whole in every sandbox, so nothing below needs a place of its own.
SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

#: The pieces of /etc that programs need; no private keys (/etc/ssl/private), no /etc/shadow.
ETC = (
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "default/locale",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "lsb-release",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki/ca-trust",
    "pki/java",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "protocols",
    "redhat-release",
    "services",
    "shells",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)

#: Never readable as a whole, whatever PATH says; of the second kind nothing at all.
_TOO_WIDE = ("/", "/home", "/root", "/var", "/run", "/tmp", "/mnt", "/media", "/srv")
_NO_TOOLS = ("/proc", "/sys", "/dev", "/etc")

#: Folders of a tool's prefix that hold its executables.
_BIN_NAMES = frozenset({"bin", "sbin", "shims", "condabin", ".bin"})
#: One of these beside ``bin`` says that the folder above is a prefix, not somebody's project or home.
_PREFIX_SIGNS = (
    "pyvenv.cfg",
    "conda-meta",
    "lib",
    "lib64",
    "libexec",
    "versions",
    "registry",
    "env",
    "pkg",
    "install",
    "plugins",
    "toolchains",
)
#: Below the home: never readable, nor anything in them, whatever PATH says.
_CREDENTIAL_PLACES = (
    ".ssh",
    ".aws",
    ".azure",
    ".gnupg",
    ".docker",
    ".kube",
    ".config",
    ".netrc",
    ".git-credentials",
    ".gitconfig",
    ".pypirc",
    ".npmrc",
    ".password-store",
    ".pki",
    ".mozilla",
    ".local/share/keyrings",
    ".local/state",
)
#: Files in a tool's own folder that hold its login: covered by an empty one.
_CREDENTIAL_FILES = (
    "credentials",
    "credentials.toml",
    ".credentials.json",
    ".npmrc",
    ".netrc",
    ".pypirc",
    ".git-credentials",
    "auth.json",
    "settings-security.xml",
    "gradle.properties",
)
_MAX_ENTRIES = 5000
_MAX_LINKS = 16


def tool_roots(source: Mapping[str, str], home: Path, hidden: Iterable[Path] = ()) -> list[Path]:
    """Folders (a few: files) outside the system's that the tools on ``source``'s PATH need, outermost first.

    For each folder of PATH and each toolchain variable: its prefix (the folder above ``bin`` or ``shims``), and what
    links in it lead to, hop by hop: a virtual environment's interpreter, a pipx or uv tool, a version manager's
    current version. Never ``home`` or a folder that holds it, never a ``hidden`` folder or one that holds it, never a
    known place of credentials.
    """
    homes = _both(home)
    closed = [base / place for base in homes for place in _CREDENTIAL_PLACES]
    closed += [*(Path(place) for place in _NO_TOOLS), *(path for place in hidden for path in _both(place))]
    whole = [*homes, *closed, *(Path(place) for place in _TOO_WIDE)]

    def allowed(path: Path) -> bool:
        if any(place == path or path in place.parents for place in whole):
            return False
        return not any(place in path.parents for place in closed)

    found: list[Path] = []
    for candidate in _candidates(source):
        for path in _both(candidate):
            if not _in_system(path) and path.exists() and allowed(path):
                found.append(path)
    found = sorted(set(found), key=lambda path: (len(path.parts), path))
    return [path for path in found if not any(other in path.parents for other in found)]


def etc_paths() -> list[str]:
    """The pieces of /etc that a sandbox shows, whether they exist or not."""
    return [f"/etc/{name}" for name in ETC] + [str(path) for path in sorted(Path("/etc").glob("java-*-openjdk"))]


def credential_files(roots: Iterable[Path]) -> list[Path]:
    """The files directly in ``roots`` that are known to hold a login."""
    return [root / name for root in roots for name in _CREDENTIAL_FILES if (root / name).is_file()]


def _candidates(source: Mapping[str, str]) -> Iterator[Path]:
    """Each prefix, and after it what to be content with if that is refused."""
    for folder in search_path(source).split(":"):
        path = Path(os.path.normpath(folder))
        if not path.is_dir():
            continue
        root = _root(path)
        yield from (root, path)
        yield from _base_interpreter(root)
        # /usr/bin is full of links, but they lead to the system's own folders
        if not _in_system(path):
            yield from _link_targets(path)
    for name in TOOLCHAIN_VARIABLES:
        if source.get(name, "").startswith("/"):
            yield Path(os.path.normpath(source[name]))
    # rustup's proxies look for their toolchains here when nothing says otherwise
    if "RUSTUP_HOME" not in source and any(
        part == ".cargo" for part in search_path(source).replace(":", "/").split("/")
    ):
        yield Path(source.get("HOME", "/")) / ".rustup"


def _root(folder: Path) -> Path:
    """The prefix that a folder of executables belongs to, else the folder itself."""
    above = folder.parent
    if folder.name == ".bin" and above.name == "node_modules":
        return above
    if folder.name in _BIN_NAMES and any((above / sign).exists() for sign in _PREFIX_SIGNS):
        # ~/.local has a lib too, and much that is none of a tool's business
        return folder if above.name == ".local" else above
    for store in ("/nix/store", "/gnu/store"):
        if str(folder).startswith(f"{store}/"):
            return Path(store)
    return folder


def _base_interpreter(root: Path) -> Iterator[Path]:
    """Where a virtual environment's standard library is."""
    if root.name == ".local":
        return
    try:
        lines = (root / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "home" and value.strip().startswith("/"):
            yield _root(Path(os.path.normpath(value.strip())))


def _link_targets(folder: Path) -> Iterator[Path]:
    """What the links in ``folder`` lead to, each hop's prefix; a lone file where it is not in a ``bin``."""
    if folder.name == "bin" and folder.parent.name == ".local":
        # packages that `pip install --user` put beside its scripts
        yield folder.parent / "lib"
    with os.scandir(folder) as entries:
        links = [Path(entry.path) for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False) if entry.is_symlink()]
    for link in links:
        hop = link
        for _ in range(_MAX_LINKS):
            if not hop.is_symlink():
                break
            hop = Path(os.path.normpath(hop.parent / hop.readlink()))
            if _in_system(hop):
                break
            if hop.parent != folder:
                if hop.parent.name in _BIN_NAMES:
                    yield _root(hop.parent)
                yield hop


def _both(path: Path) -> list[Path]:
    """A path as it is named and, if that differs, as it really is."""
    return list(dict.fromkeys((path, Path(os.path.realpath(path)))))


def _in_system(path: Path) -> bool:
    real = os.path.realpath(path)
    return any(text == top or text.startswith(f"{top}/") for text in (str(path), real) for top in SYSTEM_FOLDERS)
