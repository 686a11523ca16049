"""Recap-DataComp (Li et al. 2024, arXiv 2406.08478): a detailed caption of every picture, mixed with the raw text.

The paper captions with LLaVA-1.5 on LLaMA-3-8B, greedily, 128 tokens, one prompt: 49 words where the raw text has 10. Share of
raw text and what it gave (ViT-B/16): 0.0 / 0.5 / 0.8 / 1.0 -> ImageNet 36.0 / 67.2 / 69.2 / 69.7, COCO text to image 34.1 /
42.7 / 42.2 / 37.7. Sentence scores are for the report; a long caption is not gated by CLIP, which reads 77 tokens.
"""

from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named
from curate.synth.choose import Mix
from curate.synth.faults import CaptionFaults
from curate.synth.score import CaptionScore


def recipe(
    source: Source,
    model: str = "ViT-B-32:laion2b_s34b_b79k",
    captioner: str = "chat:llava-hf/llava-1.5-7b-hf",
    raw: float = 0.8,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """raw: share of the samples whose raw text is drawn."""
    return Recipe(
        source=source,
        score=[Fetch(), ClipEmbed(model=model), ClipScore()],
        synth=[
            Caption(named(captioner), prompt="detailed", decoding=Decoding(max_tokens=128), name="caption_recap"),
            CaptionFaults("caption_recap", without=frozenset({"cut_off"})),
            CaptionScore(model, of="caption_recap"),
            Mix({"raw": raw, "recap": 1.0 - raw}, checked=("recap",), seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
