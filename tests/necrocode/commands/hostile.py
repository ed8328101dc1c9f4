"""What hostile commands do, run in the sandbox as ``python3 hostile.py NAME ARGUMENT…``: prints ESCAPED if it worked.

Standard library only, and nothing of this project: it is copied into a slot. What takes long to import, only those
import who need it; those of the network are in ``hostile_network.py``.
"""

from __future__ import annotations

# pathlib would double the start-up of most attacks
# ruff: noqa: PTH116, PTH123
import ctypes
import mmap
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
KEY = re.compile(rb"decoy-key-[0-9a-f]{32}")
ARM = os.uname().machine == "aarch64"


def call(x86_64: int, aarch64: int, *arguments: object) -> int:
    """A system call by its number."""
    return int(LIBC.syscall(aarch64 if ARM else x86_64, *arguments))


def nothing() -> bool:
    return True


def environment(pid: str) -> bool:
    with open(f"/proc/{pid}/environ", "rb") as environ:
        return bool(KEY.search(environ.read()))


def memory(pid: str) -> bool:
    """Looks through all that the process may write."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, rights, *_ = line.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw") and end - start < 1 << 26:
                mem.seek(start)
                if KEY.search(mem.read(end - start)):
                    return True
    return False


def vm_read(pid: str, address: str) -> bool:
    """process_vm_readv."""
    buffer = ctypes.create_string_buffer(64)
    mine = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
    theirs = (ctypes.c_size_t * 2)(int(address), 64)
    return call(310, 270, int(pid), mine, ctypes.c_long(1), theirs, ctypes.c_long(1), ctypes.c_long(0)) > 0


def ptrace(pid: str) -> bool:
    """PTRACE_SEIZE, which does not stop it."""
    return call(101, 117, ctypes.c_long(0x4206), ctypes.c_long(int(pid)), ctypes.c_long(0), ctypes.c_long(0)) == 0


def steal_descriptor(pid: str, descriptor: str) -> bool:
    """pidfd_getfd."""
    return call(438, 438, os.pidfd_open(int(pid)), int(descriptor), 0) >= 0


def strangle(pid: str) -> bool:
    """Lower the limits of another process."""
    return resource.prlimit(int(pid), resource.RLIMIT_NOFILE, (8, 8)) is not None


def kill(pid: str) -> bool:
    os.kill(int(pid), signal.SIGKILL)
    return True


def shared_memory(key: str) -> bool:
    """Attach a System V segment that others made."""
    return call(29, 194, int(key), ctypes.c_long(0), 0) >= 0


def keyring() -> bool:
    """Put a key into the session's keyring, where all of this user's processes find it."""
    return call(248, 217, b"user", b"necrocode-test", b"x", ctypes.c_size_t(1), -3) > 0


def namespaces() -> bool:
    """Become root of a namespace of one's own, and mount there."""
    import subprocess

    return subprocess.run(["unshare", "--user", "--mount", "true"], check=False, capture_output=True).returncode == 0


def ring() -> bool:
    """io_uring makes calls that no filter sees."""
    return call(425, 425, 1, ctypes.create_string_buffer(120)) >= 0


def other_calls() -> bool:
    """socket(AF_INET) by the 32-bit calls of x86: socketcall(SYS_SOCKET, …)."""
    low = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(low))
    low[:12] = b"".join(number.to_bytes(4, "little") for number in (2, 1, 0))
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, 102; mov ebx, 1; mov ecx, address; int 0x80; pop rbx; ret
    machine = b"\x53\xb8\x66\0\0\0\xbb\x01\0\0\0\xb9" + address.to_bytes(4, "little") + b"\xcd\x80\x5b\xc3"
    code[: len(machine)] = machine
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return int(function()) >= 0


def set_id() -> bool:
    """Every way to a file with the set-user-ID bit that is not chmod."""
    os.close(os.open("made-suid", os.O_CREAT | os.O_WRONLY, 0o4755))
    return bool(os.stat("made-suid").st_mode & 0o4000)


def forks(count: str) -> bool:
    """Whether that many processes can live at once."""
    children = []
    try:
        for _ in range(int(count)):
            child = os.fork()
            if child == 0:
                time.sleep(30)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
    return True


def threads(count: str) -> bool:
    """Whether that many threads can live at once."""
    import threading

    end = threading.Event()
    try:
        for _ in range(int(count)):
            threading.Thread(target=end.wait, daemon=True).start()
    finally:
        end.set()
    return True


def forge(folder: str, boot_id: str) -> bool:
    """Write one's own result and kill whoever would write the true one."""
    import json
    from pathlib import Path

    told = {"version": 1, "boot_id": boot_id, "status": "exited", "exit_code": 0, "duration": 0.1, "head_bytes": 0}
    told |= {"tail_bytes": 0, "omitted_bytes": 0, "problem": None, "sandbox": "bubblewrap"}
    for claim in Path(folder).glob("*/claim"):
        claim.with_name("result").write_text(json.dumps(told))
        os.kill(json.loads(claim.read_text())["process"]["pid"], signal.SIGKILL)
        time.sleep(5)
    return False


def attribute(path: str) -> bool:
    os.setxattr(path, "user.necrocode", b"x")
    return True


ATTACKS: dict[str, Callable[..., bool]] = {
    function.__name__: function
    for function in (
        *(
            nothing,
            environment,
            memory,
            vm_read,
            ptrace,
            steal_descriptor,
            strangle,
            kill,
            shared_memory,
            keyring,
            namespaces,
        ),
        *(ring, other_calls, set_id, forks, threads, forge, attribute),
    )
}

if __name__ == "__main__":
    if ATTACKS[sys.argv[1]](*sys.argv[2:]):
        sys.stdout.write("ESCAPED\n")
