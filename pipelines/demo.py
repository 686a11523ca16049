"""Exact and semantic dedup, CLIP and concept balance on drawings and stamps: what `benchmarks/evaluate.py` trains on.

Every kind of step once, with bounds that suit the demo's pool, in place of the literature's. `web_pairs` is the whole job, and what
`curate demo` runs.
"""

from curate.balance.metaclip import Balance
from curate.dedup.exact import ExactDedup
from curate.dedup.semantic import SemanticDedup
from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.image_bytes import ImageBytes
from curate.filters.image_side import ImageSide
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source


def recipe(
    source: Source,
    model: str = "small",
    entries: str = "",
    eps: float = 0.01,
    min_clip: float = 0.2,
    t: int = 20,
    seed: int = 0,
    shard_size: int = 500,
) -> Recipe:
    """entries: file of concepts to balance over; none: no balance.
    eps: pictures with a cosine of 1 - eps or more mean the same.
    t: draws of a concept, about.
    """
    return Recipe(
        source=source,
        score=[
            CaptionChars(min=3),
            CaptionWords(min=1),
            Language(among={"en"}, rules=True),
            Fetch(),
            ImageBytes(min=100),
            ImageSide(min=32),
            AspectRatio(max=3.0),
            ClipEmbed(model=model),
            ClipScore(),
        ],
        select=[
            ExactDedup(by=("clip_score",)),
            SemanticDedup(eps=eps, by=("clip_score",), seed=seed),
            Where("clip_score", min=min_clip),
            *([Balance(entries=entries, t=t, seed=seed)] if entries else []),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
