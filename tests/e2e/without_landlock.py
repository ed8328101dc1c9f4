"""Runs a command as a kernel without Landlock would: ``python without_landlock.py COMMAND…``."""

from __future__ import annotations

import errno
import os
import sys

from necrocode.commands import seccomp
from necrocode.commands.processes import PR_SET_NO_NEW_PRIVS, prctl

if __name__ == "__main__":
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(seccomp.refusing(["landlock_create_ruleset"], errno.ENOSYS))
    os.execv(sys.argv[1], sys.argv[1:])
