"""Reuse of another run's files: link or copy its input records, its immutable parts and the verdicts on its rows into a new run."""

import errno
import os
import shutil

from curate.errors import RecipeError
from curate.removed import FOLDER, lists, removed
from curate.store import folder
from curate.store.atomic import Store

#: Roles of the files that are reused.
ADOPTED = (folder.Role.INPUT, folder.Role.COMPUTED, folder.Role.PEOPLE)


def adopt(store: Store, other: Store) -> int:
    """Link (on one disk) or copy every committed file of `other` that is missing here; returns their number.

    Rows taken down in either run are cleared from the files before the next run continues from them. RecipeError if `other` is not a
    run's folder.
    """
    if not other.exists("recipe.json"):
        raise RecipeError(f"{other.url}: no recipe.json here, so this is not a run's folder")
    adopt_removed(store, other)
    for digest in lists(store):  # mark the takedown as not applied: the next run first clears the new files of it
        store.remove(f"{FOLDER}/{digest}.json")
    committed = [n for n in folder.files(other, *ADOPTED) if not n.startswith(f"{FOLDER}/")]
    here = set(folder.files(store, *ADOPTED))
    for name in committed:
        if name not in here:
            _link_or_copy(store, other, name)
    return len(set(committed) - here)


def adopt_removed(store: Store, other: Store) -> None:
    """Copy the takedown lists of `other`: the next run first clears this run of their rows, and ingests none of them."""
    if not len(removed(other) - removed(store)):
        return
    for name in [n for n in other.names(FOLDER) if n.endswith(".parquet") and not store.exists(f"{FOLDER}/{n}")]:
        store.commit_bytes(f"{FOLDER}/{name}", other.read(f"{FOLDER}/{name}"))


def _link_or_copy(store: Store, other: Store, name: str) -> None:
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
