"""A video as a file on this machine: codecs seek, object stores do not."""

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

#: CPU seconds for one question about a video, and bytes of the child's address space.
SECONDS, MEMORY = 600.0, 4 << 30

#: Protocols of disks and object stores: those whose addresses name a bucket of a known service, and no host.
STORES = (None, "file", "local", "memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")


def child(seconds: float = SECONDS, memory: int = MEMORY) -> Contained:
    """The child that opens videos (media.answer)."""
    return Contained("curate.videos.media:answer", seconds, memory)


@contextlib.contextmanager
def local(video: str) -> Iterator[str]:
    """The path of a video on this machine; one from an object store is copied for as long as it is needed.

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


def refuse_web(video: str) -> str:
    """The same path; RecipeError for one that leads to the web, which only curate's own client may ask, be it through a chain
    (`simplecache::http://...`)."""
    if "::" in video or split_protocol(video)[0] not in STORES:
        raise RecipeError(f"{video}: videos are read from disks and object stores, not from the web: download it first")
    return video
