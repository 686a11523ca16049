"""VeCLIP (Lai et al. 2023, arXiv 2310.07699): what is in the picture fused with the raw text, half of the time.

A vision-language model names what is in the picture, a language model fuses that with the raw text, and training takes the raw text or the fused
one, each half of the time.

Published: ImageNet 31.6 -> 38.1 (12M pairs), 63.7 -> 64.6 (200M), with COCO text to image 35.0 -> 48.4. The
paper uses LLaVA and Vicuna; the prompts here are ours. That fused texts with faults (refusals, loops, numbers and names that neither
text has) are not drawn is ours too.
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
    captioner: str = "chat:llava-hf/llava-1.5-7b-hf",
    writer: str = "text:Qwen/Qwen2.5-7B-Instruct",
    raw: float = 0.5,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """raw: share of the samples whose raw text is drawn."""
    return Recipe(
        source=source,
        score=[Fetch()],
        synth=[
            Caption(named(captioner), prompt="concepts", decoding=Decoding(max_tokens=128), name="caption_concepts"),
            Rewrite(
                named(writer),
                prompt="fuse",
                of={"text": "text", "synthetic": "caption_concepts"},
                decoding=Decoding(max_tokens=96),
                seed=seed,
                name="caption_vecap",
            ),
            CaptionFaults("caption_vecap", sources=("text", "caption_concepts")),
            Mix({"raw": raw, "vecap": 1.0 - raw}, checked=("vecap",), seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
