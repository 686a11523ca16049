"""Failures of a request, as outcomes of schema.FETCH."""

import asyncio
from collections.abc import Iterable


class Failed(Exception):
    """A request failed: its outcome (one of schema.FETCH), the reason, the HTTP status and Retry-After in seconds."""

    def __init__(self, outcome: str, reason: str = "", status: int | None = None, retry_after: float | None = None):
        self.outcome, self.reason, self.status, self.retry_after = outcome, reason, status, retry_after
        super().__init__(f"{outcome}: {reason}" if reason else outcome)


def status_outcome(status: int) -> str:
    """The outcome for an HTTP status other than 200."""
    if status in (401, 403, 404, 410, 429):
        return f"http_{status}"
    return "http_4xx" if 400 <= status < 500 else "http_5xx" if 500 <= status < 600 else "http_other"


def cancel_all(tasks: Iterable[asyncio.Future]) -> None:
    """Cancel futures, and mark their exceptions as retrieved so that asyncio logs none."""
    for task in tasks:
        task.cancel()
        if task.done() and not task.cancelled():
            task.exception()
