"""A call in a worker: with its target's models loaded, and with a deadline that ends the process."""

import os
import threading
from typing import Any

from curate.errors import RecipeError
from curate.runner.workers import loaded
from curate.score.target import Target


class Nothing:
    """Raised where a part lacks values and a model would be needed."""


class Keeper:
    """The actor that keeps a target with its model loaded. A failure to load is raised by its calls: an actor whose constructor fails
    could not report why."""

    def __init__(self, target: Target, name: str):
        self.error: RecipeError | None = None
        try:
            self.target = loaded(target, name)
        except RecipeError as e:
            self.error = e

    def call(self, deadline: float, *args: Any) -> Any:
        if self.error:
            raise self.error
        with Alarm(deadline):
            return self.target(*args)


def call(target: Target, name: str, deadline: float, peek: bool, *args: Any) -> Any:
    with Alarm(deadline):
        if peek:
            found = target.peek(*args)
            return Nothing() if found is None else found
        try:
            return loaded(target, name)(*args)
        finally:
            target.close()


class Alarm:
    """Ends this process if the block takes longer than `seconds` (inf: no limit); nothing else stops a library that hangs."""

    def __init__(self, seconds: float):
        self.timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), os._exit, (1,))
        self.timer.daemon = True

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *_: Any) -> None:
        self.timer.cancel()
