"""BLIP-2's captions (Li et al. 2023, arXiv 2301.12597): ten captions for each picture; the two that CLIP rates best stay, the
raw text competing; one of the two is drawn for `.txt`, and a loader may draw again at every step from `caption_best` and
`caption_best_2`.

The paper ranks with ViT-L/14, captions by BLIP-large, 129M pictures. `chosen_origin` says `best` or `best_2`, not which writer it was.
"""

from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named
from curate.synth.choose import Mix
from curate.synth.score import BestOf


def recipe(
    source: Source,
    model: str = "ViT-L-14:openai",
    captioner: str = "caption:Salesforce/blip-image-captioning-large",
    candidates: int = 10,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """candidates: captions written for each picture; the two that CLIP rates best stay."""
    nucleus = Decoding(temperature=1.0, top_p=0.9, min_tokens=5, max_tokens=30)
    return Recipe(
        source=source,
        score=[Fetch(), ClipEmbed(model=model), ClipScore()],
        synth=[
            Caption(named(captioner), n=candidates, decoding=nucleus, seed=seed, name="caption_blip"),
            BestOf(model, of=("text", "caption_blip_candidates"), keep=2),
            Mix({"best": 0.5, "best_2": 0.5}, seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
