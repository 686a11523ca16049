"""curate: web image-text pairs and web pages become balanced, explained WebDataset shards for multimodal pretraining.

run = curate.run(recipe, "out/")      # run a recipe, or go on with the run there
run = curate.open("out/")             # look at a run
run.sql("select drop_reason, count(*) from images group by all")
curate.show(run, reason="language")   # pictures, in a notebook
"""

import importlib
import os
from typing import Any

# Arrow's own allocator keeps what each thread took at most; it is chosen when Arrow is loaded.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

#: The version of this package; pyproject.toml reads it here. What pip calls the package is not `curate`, which is another project on PyPI.
__version__ = "0.1.0"

_HOMES = {
    "run": ("runner.driver", "run"),
    "open": ("view.run", "open_run"),
    "Run": ("view.run", "Run"),
    "show": ("view.gallery", "show"),
    "Recipe": ("recipe", "Recipe"),
    "Shards": ("recipe", "Shards"),
    "Source": ("source", "Source"),
    "Stage": ("stage", "Stage"),
    "Filter": ("stage", "Filter"),
    "Selector": ("selector", "Selector"),
    "Selection": ("selector", "Selection"),
    "CurateError": ("errors", "CurateError"),
    "RecipeError": ("errors", "RecipeError"),
    "PartError": ("errors", "PartError"),
    "PoolError": ("errors", "PoolError"),
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """The public names are loaded when they are first used: importing curate loads neither ray nor torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(f"curate.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
