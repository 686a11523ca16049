"""Begin a run with what another one has computed: its inputs and parts, which never change, become those of the new run too,
and people's verdicts on its rows."""

import errno
import os
import shutil

from curate.errors import RecipeError
from curate.removed import FOLDER, lists, removed
from curate.store import folder
from curate.store.atomic import Store

#: What a run begins with.
TAKEN = (folder.Role.INPUT, folder.Role.COMPUTED, folder.Role.PEOPLE)


def adopt(store: Store, other: Store) -> int:
    """Take over every committed file of `other` that is missing here; returns how many. Nothing is computed or fetched for it.

    On one disk the files are linked, so it costs no space; elsewhere they are copied. What was taken down in either run is
    cleared from the files before the next run goes on from them.
    """
    if not other.exists("recipe.json"):
        raise RecipeError(f"{other.url}: no recipe.json here, so this is not a run's folder")
    adopt_removed(store, other)
    for digest in lists(store):  # what comes in now has yet to be cleared of it: the next run does so first
        store.remove(f"{FOLDER}/{digest}.json")
    wanted = [n for n in folder.files(other, *TAKEN) if not n.startswith(f"{FOLDER}/")]
    here = set(folder.files(store, *TAKEN))
    for name in wanted:
        if name not in here:
            _take(store, other, name)
    return len(set(wanted) - here)


def adopt_removed(store: Store, other: Store) -> None:
    """Take over the lists of what was taken down in `other`: the next run clears this one of it first, and takes nothing of it in."""
    if not len(removed(other) - removed(store)):
        return
    for name in [n for n in other.names(FOLDER) if n.endswith(".parquet") and not store.exists(f"{FOLDER}/{n}")]:
        store.commit_bytes(f"{FOLDER}/{name}", other.read(f"{FOLDER}/{name}"))


def _take(store: Store, other: Store, name: str) -> None:
    if store.local and other.local:
        os.makedirs(os.path.dirname(store.path(name)), exist_ok=True)
        try:
            os.link(other.path(name), store.path(name))
            return
        except FileExistsError:
            return
        except OSError as e:
            if e.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
    with store.private(name) as path:
        with other.open(name) as f, open(path, "wb") as out:
            shutil.copyfileobj(f, out, 1 << 20)
        store.commit(name, path, path.stat().st_size)
