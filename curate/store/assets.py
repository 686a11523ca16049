"""Files and models' folders that a recipe names by paths of the driver's machine: copied once into the run's folder, read from there by
workers. A folder is copied as a tar."""

import dataclasses
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from curate.store.atomic import Store
from curate.store.folder import ASSETS

#: Larger ones are for every node to have itself: under the path that the recipe names.
MOST = 8 << 30


def named(steps: Iterable[object]) -> Iterator[str]:
    """The paths of files and models' folders here among the parameters of steps."""
    for step in steps:
        for field in dataclasses.fields(step):
            found = (p for p in _paths(getattr(step, field.name)) if os.path.isfile(p) or _is_model(p))
            if path := next(found, None):
                yield path


def _paths(value: object) -> Iterator[str]:
    """The paths that a parameter may name: `PATH`, `PATH#quick_gelu`, `local-dir:PATH` or `ViT-B-32:PATH`."""
    if isinstance(value, str) and value:
        for text in (value, value.rpartition("#")[0]):
            yield from filter(None, (text, text.partition(":")[2]))


def _is_model(path: str) -> bool:
    """Whether a folder is a model as transformers or open_clip keep it."""
    return os.path.isdir(path) and any(n.endswith("config.json") for n in os.listdir(path))


def publish(store: Store, steps: Iterable[object]) -> dict[str, str]:
    """Copy what steps name into the run's folder; the name that each has there, by its path."""
    found = {}
    for path in dict.fromkeys(named(steps)):
        with tempfile.TemporaryFile() if os.path.isdir(path) else open(path, "rb") as f:
            if _size(path) > MOST:
                continue
            if os.path.isdir(path):
                _pack(path, f)
            found[path] = _publish(store, path, f)
    return found


def _publish(store: Store, path: str, f: BinaryIO) -> str:
    digest = hashlib.file_digest(f, "sha256").hexdigest()[:32]
    stem, suffix = os.path.splitext(os.path.basename(path.rstrip("/")))
    name = f"{ASSETS}/{stem.replace('.', '_')}-{digest}{'.folder' if os.path.isdir(path) else suffix or '.bin'}"
    if not store.exists(name):
        with store.private(name) as copy:
            f.seek(0)
            with open(copy, "wb") as out:
                shutil.copyfileobj(f, out)
            store.commit(name, copy, os.path.getsize(copy))
    return name


def _files(folder: str) -> list[Path]:
    return sorted(p for p in Path(folder).rglob("*") if p.is_file())


def _size(path: str) -> int:
    return sum(f.stat().st_size for f in _files(path)) if os.path.isdir(path) else os.path.getsize(path)


def _pack(folder: str, out: BinaryIO) -> None:
    """Write a tar of a folder's files that depends on their names and bytes alone."""
    with tarfile.open(fileobj=out, mode="w", dereference=True, format=tarfile.GNU_FORMAT) as tar:
        for file in _files(folder):
            member = tarfile.TarInfo(str(file.relative_to(folder)))
            member.size = file.stat().st_size
            with open(file, "rb") as f:
                tar.addfile(member, f)
    out.seek(0)


def localize(store: Store, assets: dict[str, str], step: object) -> None:
    """Let a step on a worker name copies of what its machine has not, below the folder for temporary files."""
    for field in dataclasses.fields(step):
        value = getattr(step, field.name)
        path = next((p for p in _paths(value) if p in assets and not os.path.exists(p)), None)
        if path:
            setattr(step, field.name, value.replace(path, str(_copy(store, assets[path]))))


def _copy(store: Store, name: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"curate-assets-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / os.path.basename(name)
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=folder) as making, store.open(name) as source:
        whole = Path(making) / "whole"
        if name.endswith(".folder"):
            with tarfile.open(fileobj=source) as tar:
                tar.extractall(whole, filter="data")
        else:
            with open(whole, "wb") as out:
                shutil.copyfileobj(source, out)
        try:
            os.replace(whole, path)
        except OSError:  # another worker of this machine has made the folder, of the same files
            if not path.is_dir():
                raise
    return path
