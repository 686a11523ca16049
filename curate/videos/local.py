"""Access to a video as a local file, since codecs need to seek; and the child process in which it is opened."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fsspec.core import split_protocol

from curate.errors import RecipeError
from curate.models.contained import Contained
from curate.paths import filesystem

#: CPU seconds for one task on a video, and bytes of the child's address space.
SECONDS, MEMORY = 600.0, 4 << 30

#: Protocols of disks and object stores: those whose addresses name a bucket of a known service, not a host.
STORES = (None, "file", "local", "memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")


def media_child(seconds: float = SECONDS, memory: int = MEMORY) -> Contained:
    """The contained child process that opens videos (media.run_task). seconds, memory: its limits for one task."""
    return Contained("curate.videos.media:run_task", seconds, memory)


@contextlib.contextmanager
def local_file(video: str) -> Iterator[str]:
    """The path of a video on this machine; one from an object store is copied to a temporary file.

    RecipeError if it is refused; OSError (ValueError for a name with a NUL) if there is no such file, or it is a pipe or a device.
    """
    fs, inner = filesystem(refuse_web(video))
    if "file" in fs.protocol:
        if not stat.S_ISREG(os.stat(inner).st_mode):
            raise FileNotFoundError(f"{video}: not a regular file")
        yield inner
        return
    handle, path = tempfile.mkstemp(prefix="curate-video-", suffix=Path(inner).suffix)
    try:
        with os.fdopen(handle, "wb") as out, fs.open(inner, "rb") as f:
            shutil.copyfileobj(f, out, 4 << 20)
        yield path
    finally:
        os.unlink(path)


def is_web(path: str) -> bool:
    """Whether a file is named by an http(s) URL."""
    return path.lower().startswith(("http://", "https://"))


def refuse_web(video: str) -> str:
    """The path itself; RecipeError for one that leads to the web, also through a chain (`simplecache::http://...`): only curate's own
    client may contact the web."""
    if "::" in video or split_protocol(video)[0] not in STORES:
        raise RecipeError(f"{video}: videos are read from disks and object stores, not from the web: download it first")
    return video
