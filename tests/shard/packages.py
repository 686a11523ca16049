"""Modules of other projects' packages, imported without what their packages import around them."""

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest


def module(monkeypatch: pytest.MonkeyPatch, name: str, **without: dict[str, Any]) -> types.ModuleType:
    """The module `name` of an installed package. The `__init__` of the packages around it do not run; modules in `without`
    (dots as two underscores) are replaced by ones with these names alone."""
    top = name.split(".")[0]
    found = importlib.util.find_spec(top)
    if found is None:
        pytest.skip(f"pip install --no-deps {top}")
    root = Path(next(iter(found.submodule_search_locations)))
    for parent in [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)]:
        package = types.ModuleType(parent)
        package.__path__ = [str(root.joinpath(*parent.split(".")[1:]))]
        monkeypatch.setitem(sys.modules, parent, package)
    for other, names in without.items():
        stub = types.ModuleType(other.replace("__", "."))
        vars(stub).update(names)
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
    for stale in [m for m in sys.modules if m.startswith(f"{top}.") and not hasattr(sys.modules[m], "__path__")]:
        if stale.replace(".", "__") not in without:
            monkeypatch.delitem(sys.modules, stale)
    return importlib.import_module(name)
