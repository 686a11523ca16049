"""Export of tars with derived members: slices of a picture, its augmented views, the file of a clip."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.errors import PoolError
from curate.fetch.isolate import Isolated
from curate.fetch.reencode import encode
from curate.shard.formats.base import Options, write_tars
from curate.shard.members import to_json
from curate.shard.samples import Samples, ShardSample
from curate.videos.frames import ask_child, local_file_or_none
from curate.videos.local import media_child as videos

#: Quality of the JPEG files.
QUALITY = 95
#: The column of augmented views.
VIEWS = "augment_image"


def slices(sample: ShardSample, options: Options, child: Isolated) -> dict[str, bytes]:
    """The sample's members, and `slice0.jpg`, `slice1.jpg` … in reading order: slice k is described by `slices[k]` of the `.json`."""
    return _with_derived(sample, "slice", sample.column("slices") or [], child, cut)


def views(sample: ShardSample, options: Options, child: Isolated) -> dict[str, bytes]:
    """The sample's members, and `view0.jpg`, `view1.jpg` …: view k is described by `augment_image[k]` of the `.json`."""
    return _with_derived(sample, "view", sample.column(VIEWS) or [], child, view)


def _with_derived(sample: ShardSample, name: str, plans: list[dict[str, Any]], child: Isolated, make: Any) -> dict[str, bytes]:
    """The sample's members, and `<name><k>.jpg` made by `make(pixels, plan)` of each plan."""
    data = sample.read(sample.picture)
    pixels = child.decode(data) if plans else None
    if isinstance(pixels, str):
        raise PoolError(f"shard {sample.shard}: the picture of {sample.key} cannot be decoded: {pixels}")
    made = {f"{name}{k}.jpg": encode(make(pixels, plan), "jpg", QUALITY) for k, plan in enumerate(plans)}
    return {sample.picture: data, "json": to_json(sample.info), "txt": sample.read("txt"), **made}


def clips(samples: Samples, out: Path, options: Options) -> int:
    """The members of clips, and a video file of each clip: `mp4`, or `mkv` where mp4 does not support the codecs. Nothing is re-encoded,
    so the file starts at the preceding key frame: `clip_begins` of the `.json` is the time at which the clip begins."""
    with videos() as ask:
        return write_tars(samples, out, lambda sample: _with_clip(sample, ask))


def _with_clip(sample: ShardSample, ask: Any) -> dict[str, bytes]:
    video, start, end = (sample.column(c) for c in ("video", "start", "end"))
    with local_file_or_none(video) as path:
        found = ask_child(ask, "clip", path, start, end)
    if found["outcome"]:
        raise PoolError(f"shard {sample.shard}: the clip of {sample.key} cannot be cut out of {video}: {found['outcome']}")
    described = to_json({**sample.info, "clip_begins": found["begins"]})
    return {name: sample.read(name) for name in sample.members} | {"json": described, found["suffix"]: found["clip"]}


def cut(pixels: np.ndarray, at: dict[str, Any]) -> np.ndarray:
    """A rectangle of a picture (height, width, 3) with edges as shares of width and height; white beyond the picture's edge."""
    height, width = pixels.shape[:2]
    x0, x1 = (round(at[x] * width) for x in ("x0", "x1"))
    y0, y1 = (round(at[y] * height) for y in ("y0", "y1"))
    out = np.full((max(y1 - y0, 1), max(x1 - x0, 1), 3), 255, np.uint8)
    inside = pixels[y0:y1, x0:x1]
    out[: inside.shape[0], : inside.shape[1]] = inside
    return out


def view(pixels: np.ndarray, plan: dict[str, Any]) -> np.ndarray:
    """An augmented view of a picture, by a plan of type augment.VIEW."""
    made = cut(pixels, plan)[:, :: -1 if plan["mirrored"] else 1].astype(np.float32) * plan["brightness"]
    made = (made - made.mean()) * plan["contrast"] + made.mean()
    grey = made @ np.array([0.299, 0.587, 0.114], np.float32)
    made = grey[..., None] + (made - grey[..., None]) * (0.0 if plan["grey"] else plan["saturation"])
    if plan["blur"]:
        made = cv2.GaussianBlur(made, (0, 0), plan["blur"] * made.shape[1])
    return np.ascontiguousarray(made.clip(0, 255).round().astype(np.uint8))
