"""The ``openai`` package, without the types that a chat has no use for.

More than half of what its import takes is spent on the types of interfaces that are never called here. They are in
packages whose ``__init__`` gathers all of a kind; those are put off until somebody asks for a name of theirs.
"""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

#: Packages that do nothing but gather what is in their modules. A chat needs a few of the modules only.
GATHERING = ("openai.types", "openai.types.responses")

_lock = threading.Lock()


def import_openai() -> None:
    """Have ``openai`` imported. What stands in one of :data:`GATHERING` is there as ever, from its first use on."""
    with _lock:
        # a program that has it already, or is about to, has the whole of it
        if "openai" not in sys.modules:
            for name in GATHERING:
                _put_off(name)
        import openai  # noqa: F401

        for name in GATHERING:
            above, _, last = name.rpartition(".")
            if name in sys.modules:
                vars(sys.modules[above]).setdefault(last, sys.modules[name])


def _put_off(name: str) -> None:
    """Enter the package ``name`` in ``sys.modules`` so that its modules can be imported, and its own ``__init__`` runs
    when a name is asked for that it does not have yet.
    """
    spec = find_spec(name.partition(".")[0])
    if name in sys.modules or spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent.joinpath(*name.split(".")[1:])
    spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None or not folder.joinpath("__init__.py").is_file():
        # another release of it has nothing there: it is imported as it is
        return
    loader, module = spec.loader, module_from_spec(spec)
    # of this thread, since the package asks for names of its own while it is being run
    running, begun = threading.RLock(), False

    def missing(attribute: str) -> object:
        nonlocal begun
        with running:
            if not begun:
                begun = True
                try:
                    loader.exec_module(module)
                except BaseException:
                    begun = False
                    raise
        try:
            return vars(module)[attribute]
        except KeyError:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from None

    module.__getattr__ = missing  # type: ignore[method-assign]
    sys.modules[name] = module
