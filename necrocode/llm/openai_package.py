"""The ``openai`` package, without the types that a chat has no use for.

Two thirds of what its import takes are spent on interfaces that are never called here. They are in packages whose
``__init__`` gathers all of a kind; those are put off until somebody asks for a name of theirs.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

#: Packages that do nothing but gather what is in their modules. A chat needs a few of the modules only.
GATHERING = (
    "openai",
    "openai.lib",
    "openai.types",
    "openai.types.chat",
    "openai.types.responses",
    "openai.types.shared",
    "openai.types.shared_params",
)
#: In which of its modules the names stand that a chat uses: they are had without the rest.
_USED = {
    "openai": {
        "OpenAI": "_client",
        "Stream": "_streaming",
        "APIError": "_exceptions",
        "APIStatusError": "_exceptions",
        "APIConnectionError": "_exceptions",
    }
}

_lock = threading.Lock()


def import_openai() -> None:
    """Have ``openai`` imported. What stands in one of :data:`GATHERING` is there as ever, from its first use on."""
    with _lock:
        # a program that has it already, or is about to, has the whole of it
        if "openai" not in sys.modules:
            for name in GATHERING:
                _put_off(name)
        import openai

        _ = openai.OpenAI


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
    loader, module, used = spec.loader, module_from_spec(spec), _USED.get(name, {})
    # of this thread, since the package asks for names of its own while it is being run
    running, begun = threading.RLock(), False

    def missing(attribute: str) -> object:
        nonlocal begun
        if attribute.startswith("_") and folder.joinpath(f"{attribute}.py").is_file():
            return import_module(f"{name}.{attribute}")
        where = used.get(attribute, "")
        # another release of it may have the name elsewhere
        if not begun and folder.joinpath(f"{where}.py").is_file():
            found = vars(import_module(f"{name}.{where}"))
            if attribute in found:
                return found[attribute]
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
    above, _, last = name.rpartition(".")
    if above in sys.modules:
        setattr(sys.modules[above], last, module)
