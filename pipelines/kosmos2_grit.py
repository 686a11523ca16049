"""KOSMOS-2's GRIT (Peng et al. 2023, arXiv 2306.14824): phrases of the caption with boxes in the picture.

Pairs without any fall. Noun phrases without abstract ones (time, love, freedom), boxes by a detector, of overlapping boxes
the surest, those over 0.65, phrases grown to whole expressions, expressions inside others dropped. GRIT used GLIP and spaCy:
--detector is a function of yours (`python:module:function`, see filters.grounding), phrases are found by rule. Boxes with
phrase, place in the text, and certainty are the columns `grounding_boxes` and `grounding_chunks`: GRIT's `ref_exps` and `noun_chunks`, which
`curate export --format grit` writes as rows, and `kosmos2` as sequences with places. The pool is COYO-700M and LAION-2B: run those
recipes first; --min-side and English are all that is asked here. Published: 91M pictures, 115M spans, 137M boxes; the public
part has 20M pictures.
"""

from curate.fetch.stage import Fetch
from curate.filters.grounding import Grounding
from curate.filters.image_side import ImageSide
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    detector: str,
    sure: float = 0.65,
    overlap: float = 0.5,
    min_boxes: int = 1,
    min_side: int = 200,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """detector: your function that finds phrases in pictures, python:module:function, as filters.grounding calls it; GRIT used
        GLIP, and none comes along.
    sure: certainty that a box needs.
    overlap: intersection over union from which the surer of two boxes stays.
    min_boxes: phrases with a box that a picture needs.
    """
    return Recipe(
        source=source,
        score=[
            Language(model=language_model),
            Fetch(),
            ImageSide(min=min_side),
            Grounding(detector=detector, sure=sure, overlap=overlap, min=min_boxes),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
