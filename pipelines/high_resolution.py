"""High resolution, text in the picture (LLaVA-UHD, arXiv 2403.11703; InternLM-XComposer2-4KHD 2404.06512; Monkey 2311.06607).

These models see a picture in slices of its native size (the second up to 3840 x 1600): here bytes are kept as they came,
small pictures fall (--min-side) and so do blurred ones that were scaled up (--min-sharpness). How much text a picture shows
is a score, `ocr_area`, with what it says in `ocr_area_text`; --min-text keeps text-rich pictures alone. `aspect_bucket` names
the nearest size for batches of about --bucket squared pixels. `slices` has the grid in which --slicing cuts a picture for an encoder of
336 pixels (uhd: LLaVA-UHD's, at most 6; 4khd: at most --slices), and `curate export --format slices` the pictures. The papers take sets made for the purpose (documents, charts,
scene text) and give no bounds for web pictures: all bounds are ours.
"""

from curate.dedup.exact import ExactDedup
from curate.fetch.stage import Fetch
from curate.filters.aspect_bucket import AspectBucket
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.image_side import ImageSide
from curate.filters.ocr_area import OcrArea
from curate.filters.sharpness import Sharpness
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source
from curate.synth.slices import Slices


def recipe(
    source: Source,
    min_side: int = 672,
    max_ratio: float = 5.0,
    min_sharpness: float = 50.0,
    min_text: float = 0.0,
    side: int = 736,
    bucket: int = 1344,
    slicing: str = "uhd",
    slices: int = 6,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """min_sharpness: variance of the Laplacian; blurred pictures that were scaled up have less.
    min_text: share of the picture that text must cover.
    side: longer side in pixels at which text is looked for.
    bucket: batches have pictures of about this number of pixels squared.
    slicing: the grid of slices: uhd or 4khd.
    slices: most slices of a picture (4KHD: up to 55).
    """
    return Recipe(
        source=source,
        score=[
            Fetch(),
            ImageSide(min=min_side),
            AspectRatio(max=max_ratio),
            AspectBucket(side=bucket),
            Slices(slicing, most=slices),
            Sharpness(),
            OcrArea(side=side),
        ],
        select=[
            ExactDedup(by=("original_width", "original_height")),
            Where("sharpness", min=min_sharpness, name="min_sharpness"),
            Where("ocr_area", min=min_text, name="min_text"),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
