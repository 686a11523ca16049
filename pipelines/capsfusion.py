"""CapsFusion (Yu et al. 2023, arXiv 2310.20550): a captioner looks at the picture, then a text-only model fuses its caption,
which is plain, with the raw text, which knows names. The fused text is drawn where it is sound, the raw one with the share
--raw.

The paper fuses alt texts with LAION-COCO's captions by a fine-tuned LLaMA-13B (10,000 in 20 minutes on 8 A100), 120M pairs, and
takes the fused text alone (--raw 0). Numbers, quotes and names in the fused text must be in one of the two sources.
"""

from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Caption, Rewrite
from curate.synth.captioners import Decoding, named
from curate.synth.choose import Mix
from curate.synth.faults import CaptionFaults


def recipe(
    source: Source,
    captioner: str = "coca",
    writer: str = "text:Qwen/Qwen2.5-3B-Instruct",
    raw: float = 0.2,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """raw: share of the samples whose raw text is drawn; the paper has 0."""
    return Recipe(
        source=source,
        score=[Fetch()],
        synth=[
            Caption(named(captioner), decoding=Decoding(beams=6, min_tokens=5, max_tokens=30), name="caption_plain"),
            Rewrite(
                named(writer),
                prompt="fuse",
                of={"text": "text", "synthetic": "caption_plain"},
                decoding=Decoding(max_tokens=128),
                seed=seed,
                name="caption_fused",
            ),
            CaptionFaults(
                "caption_fused",
                prompt="Two captions belong to one image. Write one fluent caption",
                sources=("text", "caption_plain"),
            ),
            Mix({"fused": 1.0 - raw, "raw": raw}, checked=("fused",), seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
