"""Files that a recipe names by paths of the driver's machine: copied once into the run's folder, read from there by workers."""

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from curate.store.atomic import Store

#: Larger files are for every node to have itself: under the path that the recipe names.
MOST = 8 << 30


def named(steps: Iterable[object]) -> Iterator[str]:
    """The paths of files here among the parameters of steps."""
    for step in steps:
        for field in dataclasses.fields(step):
            value = getattr(step, field.name)
            if isinstance(value, str) and value and os.path.isfile(value):
                yield value


def publish(store: Store, steps: Iterable[object]) -> dict[str, str]:
    """Copy the files that steps name into the run's folder; the name that each has there, by its path."""
    found = {}
    for path in dict.fromkeys(named(steps)):
        if os.path.getsize(path) > MOST:
            continue
        with open(path, "rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()[:32]
        stem, suffix = os.path.splitext(os.path.basename(path))
        name = f"assets/{stem.replace('.', '_')}-{digest}{suffix or '.bin'}"
        if not store.exists(name):
            with store.private(name) as copy:
                shutil.copyfile(path, copy)
                store.commit(name, copy, os.path.getsize(path))
        found[path] = name
    return found


def localize(store: Store, assets: dict[str, str], step: object) -> None:
    """Let a step on a worker name copies of the files that its machine has not, below the folder for temporary files."""
    for field in dataclasses.fields(step):
        value = getattr(step, field.name)
        if isinstance(value, str) and value in assets and not os.path.exists(value):
            setattr(step, field.name, str(_copy(store, assets[value])))


def _copy(store: Store, name: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"curate-assets-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / os.path.basename(name)
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part, store.open(name) as source:
            shutil.copyfileobj(source, part)
        os.replace(part.name, path)  # another worker of this machine may have come first, with the same bytes
    return path
