"""A video as a file on this machine: codecs seek, object stores do not."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec

from curate.contained import Contained
from curate.errors import RecipeError

#: CPU seconds for one question about a video, and bytes of the child's address space.
SECONDS, MEMORY = 600.0, 4 << 30


def child(seconds: float = SECONDS, memory: int = MEMORY) -> Contained:
    """The child that opens videos (media.answer)."""
    return Contained("curate.videos.media:answer", seconds, memory)


@contextlib.contextmanager
def local(video: str) -> Iterator[str]:
    """The path of a video on this machine; one from an object store is copied for as long as it is needed. OSError if it is gone."""
    fs, inner = fsspec.core.url_to_fs(refuse_web(video))
    if "file" in fs.protocol:
        os.stat(inner)
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
    """The same path; RecipeError for a web address, which only curate's own client may ask."""
    if video.split("://", 1)[0].lower() in ("http", "https", "ftp"):
        raise RecipeError(f"{video}: videos are read from disks and object stores, not from the web: download it first")
    return video
