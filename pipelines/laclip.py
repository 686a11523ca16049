"""LaCLIP's rewriting (Fan et al. 2023, arXiv 2305.20088): a text-only language model rewrites the raw text four times; one
of the five texts is drawn with equal chances, and a loader may draw again at every step.

The paper rewrites with LLaMA-7B and four sets of examples in the prompt; here one prompt and four seeds. That rewritings with faults
(refusals, the prompt again, loops) are not drawn is ours: --faults false. Published: ImageNet
15.8 -> 21.5 % (CC3M), 40.2 -> 48.4 % (CC12M), 67.0 -> 69.3 % (LAION-400M, ViT-B/16).
"""

from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Rewrite
from curate.synth.captioners import Decoding, named
from curate.synth.choose import Mix
from curate.synth.faults import CaptionFaults


def recipe(
    source: Source,
    writer: str = "text:Qwen/Qwen2.5-3B-Instruct",
    times: int = 4,
    faults: bool = True,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """times: texts written for each raw one.
    faults: leave out texts with faults, which the paper does not.
    """
    warm = Decoding(temperature=0.9, top_p=0.95, max_tokens=77)
    names = [f"rewrite_{i}" for i in range(1, times + 1)]
    return Recipe(
        source=source,
        score=[Fetch()],
        synth=[
            *(Rewrite(named(writer), prompt="rewrite", decoding=warm, seed=seed + i, name=n) for i, n in enumerate(names)),
            *(
                CaptionFaults(f"caption_{n}", prompt="Rewrite this image caption in other words. Keep every fact", min_words=1)
                for n in (names if faults else ())
            ),
            Mix({"raw": 1.0, **dict.fromkeys(names, 1.0)}, checked=tuple(names) if faults else (), seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
