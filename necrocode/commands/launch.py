"""The script that starts a supervisor: ``python -I -S launch.py COMMANDS_DIR``.

It must start in milliseconds and on the standard library alone, so it makes the supervisor's modules importable without
running the packages' own ``__init__``.
"""

import sys
from types import ModuleType

if __name__ == "__main__":
    here = __file__.rpartition("/")[0]
    for name, path in (("necrocode", here.rpartition("/")[0]), ("necrocode.commands", here)):
        package = ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package

    from necrocode.commands.supervisor import main

    main(sys.argv[1])
