"""The system calls that a confined command may make, as a seccomp filter. Standard library only.

``confining`` refuses what a sandbox leaves open; ``forking`` only lets the keeper decide about every new process or
thread (see :mod:`necrocode.commands.gate`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from collections.abc import Iterable

    Instruction = tuple[int, int, int, int]
    """A BPF instruction: code, jump if true, jump if false, operand."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

#: By machine: the audit number of its system calls, and that of seccomp(2).
_MACHINES = {"x86_64": (0xC000003E, 317), "aarch64": (0xC00000B7, 277)}

#: By name: the number on x86_64, and on aarch64 (-1: not there).
SYSCALLS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chmod": (90, -1),
    "chown": (92, -1),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "connect": (42, 203),
    "creat": (85, -1),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "fcntl": (72, 25),
    "file_setattr": (469, 469),
    "finit_module": (313, 273),
    "fork": (57, -1),
    "fremovexattr": (199, 16),
    "fsconfig": (431, 431),
    "fsetxattr": (190, 7),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "futimesat": (261, -1),
    "init_module": (175, 105),
    "inotify_add_watch": (254, 27),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, -1),
    "iopl": (172, -1),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "landlock_create_ruleset": (444, 444),
    "lchown": (94, -1),
    "listen": (50, 201),
    "lookup_dcookie": (212, 18),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "migrate_pages": (256, 238),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "msgctl": (71, 187),
    "msgget": (68, 186),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "name_to_handle_at": (303, 264),
    "open": (2, -1),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "openat": (257, 56),
    "openat2": (437, 437),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "setsockopt": (54, 208),
    "settimeofday": (164, 170),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmget": (29, 194),
    "socket": (41, 198),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "utime": (132, -1),
    "utimensat": (280, 88),
    "utimes": (235, -1),
    "vfork": (58, -1),
}

#: Refused in every sandbox: they change the machine, look past namespaces, or are the kernel's softest spots.
_NEVER = (
    *("acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_settime", "delete_module"),
    *("fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "ioperm", "iopl"),
    *("kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr", "move_mount"),
    *("name_to_handle_at", "open_by_handle_at", "open_tree", "open_tree_attr", "perf_event_open", "pivot_root"),
    *("quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname", "sethostname", "setns", "settimeofday"),
    *("swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd"),
)
#: As on a kernel that does not have them: programs then take an older call, whose arguments a filter can see.
_MISSING = ("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup", "openat2")
#: Refused besides, where there are no namespaces: other processes, System V and POSIX IPC, what Landlock lets pass.
_SHARED = (
    *("file_setattr", "ioprio_set", "kcmp", "migrate_pages", "move_pages", "mq_open", "mq_unlink", "msgctl", "msgget"),
    *("msgrcv", "msgsnd", "pidfd_getfd", "process_madvise", "process_mrelease", "process_vm_readv"),
    *("process_vm_writev", "ptrace", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmget"),
)
#: Extended attributes: answered as by a file system that has none.
_XATTR = (
    *("fremovexattr", "fsetxattr", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr"),
    "setxattrat",
)
#: Landlock does not look at these: the keeper makes them, in the command's own folders only.
ATTRIBUTES = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "fchownat", "lchown"),
    *("futimesat", "utime", "utimensat", "utimes"),
)
#: The keeper lets them pass to the command's own processes, where Landlock is too old to see to that.
SIGNALS = ("kill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tgkill", "tkill")
FORKS = ("clone", "fork", "vfork")
#: The keeper makes them, to the command's proxy only.
CONNECTS = ("connect",)

_NEW_NAMESPACES = 0x7E020000
"""The flags of clone(2) that make a namespace of any kind."""
_SET_ID = 0o6000
_CREATES = os.O_CREAT | 0o20000000
"""O_CREAT, or the bit of O_TMPFILE that is its own."""
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCK_STREAM, _SOCK_KIND, _TCP = 1, 0xF, 6
_MSG_FASTOPEN = 0x20000000
"""Connects without connect(2), unseen by Landlock."""
_SOL_IP, _SOL_SOCKET, _BIND_TO = 0, 1, (25, 62)
"""Options of a socket that lead its connection another way: those of IP (source routes), and a device to bind to."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PRIO_USER = 2
#: Of fcntl(2) and ioctl(2): to have the kernel send signals about a file to another process.
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _FIOSETOWN, _SIOCSPGRP = 8, 10, 15, 0x8901, 0x8902

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL, _NOTIFY = 0x7FFF0000, 0x80000000, 0x7FC00000
_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5


def machine_known() -> bool:
    """Whether filters can be made for this kind of machine."""
    return os.uname().machine in _MACHINES and ctypes.sizeof(ctypes.c_void_p) == 8


def gate_known() -> bool:
    """Whether this kernel lets a keeper answer for it and then go on with the call (Linux 5.5)."""
    major, minor, *_ = os.uname().release.split(".")
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= (5, 5)


@lru_cache
def confining(
    *,
    namespaces: bool,
    network: bool,
    proxied: bool = False,
    gate: bool = False,
    cpus_fixed: bool = False,
    scoped: bool = True,
) -> bytes:
    """The filter for a command, as the kernel and bubblewrap's ``--seccomp`` take it.

    ``namespaces``: it has PID, IPC and network namespaces of its own. ``network``: whether it may reach the outside;
    ``proxied``: a proxy, by TCP. ``gate``: a keeper answers about :data:`FORKS`, without namespaces about
    :data:`ATTRIBUTES`, if Landlock is not ``scoped`` about :data:`SIGNALS`, and if it is ``proxied`` about
    :data:`CONNECTS`; without one all but the first are refused. ``cpus_fixed``: it may not choose its
    CPUs.
    """
    body = [*_refuse(_NEVER, errno.EPERM), *_refuse(_MISSING, errno.ENOSYS), *_no_set_id()]
    families = (_AF_INET, _AF_INET6) if namespaces or network else ()
    if proxied and not namespaces and not network:
        body += _only_connecting(_answer(_NOTIFY) if gate else _fail(errno.EACCES))
    else:
        body += _sockets((*families, _AF_UNIX) if namespaces else families, route=bool(families))
    body += _if_any(("ioctl",), _unless(1, (_TIOCSTI, _TIOCLINUX, *(() if scoped else (_FIOSETOWN, _SIOCSPGRP)))))
    fork = _NOTIFY if gate else _ALLOW
    body += _if_any(("clone",), [_argument(0), (_ANY_BIT, 0, 1, _NEW_NAMESPACES), _fail(errno.EPERM), _answer(fork)])
    body += _if_any(("fork", "vfork"), [_answer(fork)])
    if cpus_fixed:
        body += _refuse(("sched_setaffinity",), errno.EPERM)
    if not namespaces:
        body += _refuse(_SHARED, errno.EPERM) + _refuse(_XATTR, errno.EOPNOTSUPP)
        asked = ATTRIBUTES if scoped else (*ATTRIBUTES, *SIGNALS)
        body += _if_any(asked, [_answer(_NOTIFY) if gate else _fail(errno.EPERM)])
        if not scoped:
            body += _if_any(("fcntl",), _unless(1, (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)))
        # of another process of the same user too: a CPU limit of 0 would kill the runner
        itself = [_argument(0), (_EQUAL, 0, 1, 0), _answer(_ALLOW), _fail(errno.EPERM)]
        body += _if_any(
            ("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"), itself
        )
        own = [_argument(1), (_EQUAL, 1, 0, 0), _fail(errno.EPERM), *_unless(0, (_PRIO_USER,))]
        body += _if_any(("setpriority",), own)
    return _program(body)


@lru_cache
def forking() -> bytes:
    """The filter under which a keeper answers about :data:`FORKS`, and that refuses nothing by itself."""
    return _program([*_refuse(("clone3",), errno.ENOSYS), *_if_any(FORKS, [_answer(_NOTIFY)])])


def refusing(names: Iterable[str], number: int) -> bytes:
    """A filter that answers ``names`` with the error ``number``: a kernel that lacks them, for a try."""
    return _program(_refuse(names, number))


def install(program: bytes, *, listener: bool = False) -> int:
    """Confine this thread and what it starts from now on; it must have no_new_privs set.

    With ``listener`` returns a descriptor on which the keeper answers, else -1. ``OSError``: the kernel refuses
    (``EBUSY``: there is a listener already).
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    # without the second flag a process that signals interrupt often might never get its answer (Linux 5.19)
    tries = (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER) if listener else (0,)
    for flags in tries:
        number = _LIBC.syscall(_MACHINES[os.uname().machine][1], _SET_MODE_FILTER, flags, header)
        if number >= 0:
            return int(number) if listener else -1
        if ctypes.get_errno() != errno.EINVAL:
            break
    code = ctypes.get_errno()
    raise OSError(code, f"seccomp: {os.strerror(code)}")


def _program(body: list[Instruction]) -> bytes:
    audit, _ = _MACHINES[os.uname().machine]
    # another kind of calls (32 bits) has other numbers: none of them
    start: list[Instruction] = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if os.uname().machine == "x86_64":
        start += [(_AT_LEAST, 0, 1, 0x40000000), _fail(errno.ENOSYS)]  # x32
    return b"".join(struct.pack("HBBI", *one) for one in [*start, *body, _answer(_ALLOW)])


def _numbers(names: Iterable[str]) -> list[int]:
    column = list(_MACHINES).index(os.uname().machine)
    return sorted({SYSCALLS[name][column] for name in names} - {-1})


def _if_any(names: Iterable[str], then: list[Instruction]) -> list[Instruction]:
    """``then`` (which ends in an answer) for the calls ``names``; for others the accumulator stays the number."""
    body: list[Instruction] = []
    for number in _numbers(names):
        body += [(_EQUAL, 0, len(then), number), *then]
    return body


def _refuse(names: Iterable[str], number: int) -> list[Instruction]:
    return _if_any(names, [_fail(number)])


def _unless(argument: int, values: Iterable[int]) -> list[Instruction]:
    """Allow, but for these values of an argument."""
    body: list[Instruction] = [_argument(argument)]
    for value in values:
        body += [(_EQUAL, 0, 1, value), _fail(errno.EPERM)]
    return [*body, _answer(_ALLOW)]


def _no_set_id() -> list[Instruction]:
    """No file gets the set-user-ID or set-group-ID bit: it would run with this user's rights for others."""
    body: list[Instruction] = []
    for names, place in ((("chmod", "fchmod", "creat", "mknod"), 1), (("fchmodat", "fchmodat2", "mknodat"), 2)):
        body += [part for name in names for part in _mode_of(name, place)]
    for name, flags in (("open", 1), ("openat", 2)):
        created: list[Instruction] = [_argument(flags), (_ANY_BIT, 1, 0, _CREATES), _answer(_ALLOW)]
        checked: list[Instruction] = [_argument(flags + 1), (_ANY_BIT, 0, 1, _SET_ID), _fail(errno.EPERM)]
        body += _if_any((name,), [*created, *checked, _answer(_ALLOW)])
    return body


def _mode_of(name: str, place: int) -> list[Instruction]:
    # what passes is looked at further down, too: the number is loaded again
    check: list[Instruction] = [_argument(place), (_ANY_BIT, 0, 1, _SET_ID), _fail(errno.EPERM), (_LOAD, 0, 0, 0)]
    return [part for number in _numbers((name,)) for part in [(_EQUAL, 0, len(check), number), *check]]


def _sockets(families: Iterable[int], *, route: bool) -> list[Instruction]:
    body: list[Instruction] = [_argument(0)]
    for family in families:
        body += [(_EQUAL, 0, 1, family), _answer(_ALLOW)]
    if route:  # the one of netlink's protocols that tells a program its addresses
        body += [(_EQUAL, 0, 3, _AF_NETLINK), _argument(2), (_EQUAL, 0, 1, 0), _answer(_ALLOW)]
    return _if_any(("socket",), [*body, _fail(errno.EACCES)])


def _only_connecting(connect: Instruction) -> list[Instruction]:
    """TCP over IPv4, for connections that ``connect`` answers about: nothing else, and no other way to make one."""
    no = _fail(errno.EACCES)
    kind: list[Instruction] = [_argument(1), (_AND, 0, 0, _SOCK_KIND), (_EQUAL, 1, 0, _SOCK_STREAM), no]
    protocol: list[Instruction] = [_argument(2), (_EQUAL, 1, 0, 0), (_EQUAL, 0, 1, _TCP), _answer(_ALLOW), no]
    body = _if_any(("socket",), [_argument(0), (_EQUAL, 1, 0, _AF_INET), no, *kind, *protocol])
    body += _if_any(("connect",), [connect]) + _refuse(("listen",), errno.EACCES)
    for name, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        body += _if_any((name,), [_argument(flags), (_ANY_BIT, 0, 1, _MSG_FASTOPEN), no, _answer(_ALLOW)])
    level: list[Instruction] = [_argument(1), (_EQUAL, 0, 1, _SOL_IP), no, (_EQUAL, 1, 0, _SOL_SOCKET)]
    return body + _if_any(("setsockopt",), [*level, _answer(_ALLOW), *_unless(2, _BIND_TO)])


def _argument(place: int) -> Instruction:
    """Load the low half of an argument; both machines are little-endian."""
    return _LOAD, 0, 0, 16 + 8 * place


def _fail(number: int) -> Instruction:
    return _answer(0x00050000 | number)


def _answer(action: int) -> Instruction:
    return _RETURN, 0, 0, action
