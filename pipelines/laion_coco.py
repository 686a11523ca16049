"""LAION-COCO (Schuhmann et al. 2022, https://laion.ai/blog/laion-coco/): the best of forty captions of each picture.

One CLIP keeps the best five, a larger one of other weights the best of these, which is the caption.

Published: 600M pictures of the English LAION-5B, captions by BLIP L/14 (9 words on average), ranked by OpenAI's ViT-L/14, then by its
RN50x64. It repaired grammar with a small T0, which is not done here.
"""

from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named
from curate.synth.choose import Mix
from curate.synth.score import BestOf


def recipe(
    source: Source,
    model: str = "ViT-L-14:openai",
    second_model: str = "RN50x64:openai",
    captioner: str = "caption:Salesforce/blip-image-captioning-large",
    candidates: int = 40,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """second_model: CLIP that picks one of the five captions that `model` keeps.
    candidates: captions written for each picture.
    """
    nucleus = Decoding(temperature=1.0, top_p=0.9, min_tokens=5, max_tokens=30)
    keep = min(5, candidates)
    five = ("caption_five", *(f"caption_five_{k}" for k in range(2, keep + 1)))
    return Recipe(
        source=source,
        score=[Fetch(), ClipEmbed(model=model), ClipEmbed(model=second_model, name="second_clip")],
        synth=[
            Caption(named(captioner), n=candidates, decoding=nucleus, seed=seed, name="caption_blip"),
            BestOf(model, of=("caption_blip_candidates",), keep=keep, name="caption_five"),
            BestOf(second_model, image="second_clip_image", of=five, name="caption_coco"),
            Mix({"coco": 1.0}, seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
