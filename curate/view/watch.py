"""`curate watch`: shows a run's progress in another terminal, from the `progress.json` that its driver writes."""

import json
import time
from typing import Any

from curate.errors import PoolError
from curate.store.atomic import Store
from curate.view.progress import Published, Quiet, span

#: Seconds without news after which the driver is called silent; it writes every two seconds while something ends.
SILENT = 60.0


def watch(store: Store, display: Quiet, every: float = 1.0) -> str:
    """Follow a run until it ends; returns how it ended. A driver that says nothing for a minute is reported as silent."""
    last, since = b"", time.monotonic()
    begun = False
    while True:
        news = _read(store)
        if news != last:
            last, since = news, time.monotonic()
            state = json.loads(news)
            if not begun:
                display.begin(state["name"], state["place"])
                begun = True
            display.restore(state)
            if state["state"] != "running":
                return _ended(state)
        elif time.monotonic() - since > SILENT:
            return f"silent: no news for {span(time.monotonic() - since)}; the same `curate run` goes on from there"
        time.sleep(every)


def _read(store: Store) -> bytes:
    try:
        return store.read(Published.NAME)
    except FileNotFoundError:
        raise PoolError(f"{store.url}: no {Published.NAME} here: no run has begun in this folder") from None


def _ended(state: dict[str, Any]) -> str:
    return f"{state['state']} after {span(state['seconds'])}"
