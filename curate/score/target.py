"""What an engine calls in its workers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self


class Target:
    """The base class of what an engine calls in its workers, once for each item of a lane. By default it has no model to load or close."""

    cores: int = 1  # pictures that it may decode at a time; set by the engine

    def load(self) -> Self:
        """Load models, in the worker. Called before each call; loads once."""
        return self

    def __call__(self, item: Any, share: Any = None, names: Any = None, /) -> Any:
        """The result for an item; CurateError if there is none. share: of the run's budget, for a model that has one. names: of the
        item's files, where they are known."""
        raise NotImplementedError

    def peek(self, item: Any, share: Any = None, names: Any = None, /) -> Any:
        """The result if no model is needed for it, else None."""
        return None

    def close(self) -> None:
        """Free what `load` took."""


@dataclass
class Function(Target):
    """A target that calls a function."""

    function: Callable[..., Any]

    def __call__(self, item: Any, share: Any = None, names: Any = None, /) -> Any:
        return self.function(item)
