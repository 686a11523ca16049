"""BLIP's CapFilt (Li et al. 2022, arXiv 2201.12086): one caption drawn from the nucleus (p = 0.9) for each picture; raw and
synthetic text are judged by the same cut; a row where neither passes is dropped, and where both do one is drawn.

BLIP judges by a matching head and trains on the union of texts; here the CLIP score judges, one text is drawn, and all stay in the
sample (`curate export --format blip --text every` writes the union). That captions with faults (loops, refusals, prompts) are not drawn is ours: --faults false.
Published with 14M pictures: COCO retrieval 78.4 / 60.7 without, 80.6 / 63.1 with (recall at 1). --min-clip is for ViT-B/32.
"""

from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named
from curate.synth.choose import CapFilt
from curate.synth.faults import CaptionFaults
from curate.synth.score import CaptionScore


def recipe(
    source: Source,
    model: str = "ViT-B-32:laion2b_s34b_b79k",
    captioner: str = "caption:Salesforce/blip-image-captioning-large",
    min_clip: float = 0.25,
    faults: bool = True,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """min_clip: CLIP score that a text needs, raw or synthetic; for ViT-B/32.
    faults: leave out captions with faults, which the paper does not.
    """
    nucleus = Decoding(temperature=1.0, top_p=0.9, min_tokens=5, max_tokens=20)
    return Recipe(
        source=source,
        score=[Fetch(), ClipEmbed(model=model), ClipScore()],
        synth=[
            Caption(named(captioner), decoding=nucleus, seed=seed, name="caption_web"),
            *([CaptionFaults("caption_web", without=frozenset({"cut_off"}))] if faults else []),
            CaptionScore(model, of="caption_web"),
            CapFilt({"raw": 1.0, "web": 1.0}, min=min_clip, checked=("web",) if faults else (), seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
