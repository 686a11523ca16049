"""Pictures made of a sample's picture, as members beside it: slices of a grid, and augmented views."""

from typing import Any

import cv2
import numpy as np

from curate.errors import PoolError
from curate.fetch.isolate import Isolated
from curate.fetch.reencode import encode
from curate.shard.formats.base import Options
from curate.shard.members import to_json
from curate.shard.samples import Sample

#: Quality of the JPEG files.
QUALITY = 95
#: The column of augmented views.
VIEWS = "augment_image"


def slices(sample: Sample, options: Options, child: Isolated) -> dict[str, bytes]:
    """The sample as it is, and `slice0.jpg`, `slice1.jpg` … in reading order: slice k is at `slices[k]` of the `.json`."""
    return _with(sample, "slice", sample.column("slices") or [], child, cut)


def views(sample: Sample, options: Options, child: Isolated) -> dict[str, bytes]:
    """The sample as it is, and `view0.jpg`, `view1.jpg` …: what was done for view k is `augment_image[k]` of the `.json`."""
    return _with(sample, "view", sample.column(VIEWS) or [], child, view)


def _with(sample: Sample, name: str, plans: list[dict[str, Any]], child: Isolated, make: Any) -> dict[str, bytes]:
    data = sample.read(sample.picture)
    pixels = child.decode(data) if plans else None
    if isinstance(pixels, str):
        raise PoolError(f"shard {sample.shard}: the picture of {sample.key} cannot be decoded: {pixels}")
    made = {f"{name}{k}.jpg": encode(make(pixels, plan), "jpg", QUALITY) for k, plan in enumerate(plans)}
    return {sample.picture: data, "json": to_json(sample.info), "txt": sample.read("txt"), **made}


def cut(pixels: np.ndarray, at: dict[str, Any]) -> np.ndarray:
    """A part of a picture (height, width, 3), its edges as shares of width and height; white below the picture's end."""
    height, width = pixels.shape[:2]
    x0, x1 = (round(at[x] * width) for x in ("x0", "x1"))
    y0, y1 = (round(at[y] * height) for y in ("y0", "y1"))
    out = np.full((max(y1 - y0, 1), max(x1 - x0, 1), 3), 255, np.uint8)
    inside = pixels[y0:y1, x0:x1]
    out[: inside.shape[0], : inside.shape[1]] = inside
    return out


def view(pixels: np.ndarray, plan: dict[str, Any]) -> np.ndarray:
    """A view of a picture, as augment.VIEW says."""
    made = cut(pixels, plan)[:, :: -1 if plan["mirrored"] else 1].astype(np.float32) * plan["brightness"]
    made = (made - made.mean()) * plan["contrast"] + made.mean()
    grey = made @ np.array([0.299, 0.587, 0.114], np.float32)
    made = grey[..., None] + (made - grey[..., None]) * (0.0 if plan["grey"] else plan["saturation"])
    if plan["blur"]:
        made = cv2.GaussianBlur(made, (0, 0), plan["blur"] * made.shape[1])
    return np.ascontiguousarray(made.clip(0, 255).round().astype(np.uint8))
