"""One state of a run for whoever reads it: a run, or a takedown, may go to work at any moment while a report is made.

A reader holds no lease while it reads. It looks at the run's state before and after, and reads again if they differ. Only to put a
page into the run's folder it takes the lease for a moment, so that nothing of an earlier state gets there.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import duckdb

from curate.errors import CurateError, PoolError, RecipeError
from curate.store import checksums, folder, lease
from curate.store.atomic import Store
from curate.view.run import Run, open_run

#: Seconds for which a reader waits until a run is at rest, and between two looks; how often it reads again what has changed.
WAIT, LOOK, AGAIN = 30.0, 0.5, 5

T = TypeVar("T")


class Changed(PoolError):
    """The run changed while it was read."""


def consistent(places: list[str], read: Callable[..., T]) -> T:
    """What `read` makes of the runs in these folders, each of one state. It is called again when a run has changed meanwhile."""
    for _ in range(AGAIN):
        runs = [open_run(place) for place in places]
        for run in runs:
            run.state = at_rest(run.store)
        try:
            found = read(*runs)
        except (CurateError, duckdb.Error, OSError) as e:
            if not isinstance(e, Changed) and all(map(_unchanged, runs)):
                raise
            continue
        if all(map(_unchanged, runs)):
            return found
    raise PoolError(f"{', '.join(places)}: changed each time it was read; try again when nothing works there")


def _unchanged(run: Run) -> bool:
    return at_rest(run.store) == run.state


def still_as_read(run: Run) -> None:
    """Changed if a run is not any more what it was when its reader began."""
    if run.state and not _unchanged(run):
        raise Changed(f"{run.store.url}: changed while it was read")


def at_rest(store: Store) -> str:
    """What the state of a run is known by; PoolError if something is at work there and does not end soon."""
    until = time.monotonic() + WAIT
    while True:
        sums = checksums.content(store)
        if sums is not None:
            return hashlib.sha256(sums).hexdigest()
        busy = None if store.holder else lease.busy(store)
        if busy is None:
            there = [*folder.sizes(store, folder.Role.SHOWN), *folder.sizes(store, folder.Role.PEOPLE)]
            return f"unfinished {hashlib.sha256(repr(there).encode()).hexdigest()}"
        if time.monotonic() > until:
            raise PoolError(f"{busy}, and it is at work: what is here is not of one state until it ends")
        time.sleep(LOOK)


@contextlib.contextmanager
def writing(run: Run) -> Iterator[None]:
    """Put something into a run's folder while nobody else does, and only if the run is what it was when it was read."""
    try:
        with lease.held(run.store):
            still_as_read(run)
            yield
    except RecipeError as e:
        raise Changed(str(e)) from e
