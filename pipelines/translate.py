"""Captions of all languages, in English (Nguyen et al. 2024, arXiv 2405.16915): what is not English is translated and stands beside the raw
text.

The paper translates DataComp's captions with NLLB, filters again by DFN's score, and finds that a model trained on the translated pool beats
one trained on its English part on ImageNet, its shifts, retrieval and the mean of 38 tasks. Here a language model translates;
rows of which fastText says English keep their text (`finish` is `same`). Translations with faults (refusals, loops, another script) are
not taken, which is ours. `caption_english_score` is the CLIP score of the translation, for a cut like the paper's: filter on it in a recipe over this
run's shards.
"""

from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Translate
from curate.synth.captioners import Decoding, named
from curate.synth.choose import Mix
from curate.synth.faults import CaptionFaults
from curate.synth.score import CaptionScore


def recipe(
    source: Source,
    model: str = "ViT-B-32:laion2b_s34b_b79k",
    writer: str = "text:Qwen/Qwen2.5-7B-Instruct",
    raw: float = 0.0,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """raw: share of the samples whose raw text is drawn; the rest has English."""
    return Recipe(
        source=source,
        score=[Language(among=frozenset(), model=language_model), Fetch(), ClipEmbed(model=model), ClipScore()],
        synth=[
            Translate(named(writer), decoding=Decoding(max_tokens=128), seed=seed, name="caption_english"),
            CaptionFaults("caption_english"),
            CaptionScore(model, of="caption_english"),
            Mix({"english": 1.0 - raw, "raw": raw}, checked=("english",), seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
