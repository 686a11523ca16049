"""How a request fails."""

import asyncio
from collections.abc import Iterable


class Failed(Exception):
    """A request that brought no body: its outcome, one of schema.FETCH, and why."""

    def __init__(self, outcome: str, why: str = "", status: int | None = None, retry_after: float | None = None):
        self.outcome, self.why, self.status, self.retry_after = outcome, why, status, retry_after
        super().__init__(f"{outcome}: {why}" if why else outcome)


def status_outcome(status: int) -> str:
    """The word for a status that is not 200."""
    if status in (401, 403, 404, 410, 429):
        return f"http_{status}"
    return "http_4xx" if 400 <= status < 500 else "http_5xx" if 500 <= status < 600 else "http_other"


def drop(tasks: Iterable[asyncio.Future]) -> None:
    """Cancel what is remembered. A failure counts as seen, whether or not anybody waited for it."""
    for task in tasks:
        task.cancel()
        if task.done() and not task.cancelled():
            task.exception()
