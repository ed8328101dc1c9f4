"""Commands: each runs under a small detached supervisor that outlives the runner, in a sandbox where there is one."""

from necrocode.commands.runner import SupervisedCommands
from necrocode.commands.sandbox import SandboxReport

__all__ = ["SandboxReport", "SupervisedCommands"]
