"""A mix by budget for small models (MobileVLM, arXiv 2312.16886; Honeybee, 2312.06742): so many samples or words of each pool.

Small models are trained on fixed shares of a few good pools rather than on all there is. Give the pools (--pool A B C) and
--budgets name=number,... with a part of each pool's path as its name; a row of no named pool is dropped. --unit samples, or words:
then a long caption costs more. Of each pool the best by CLIP score go first, or with --draw a seeded draw. Exact copies
across pools stay once. The published shares belong to sets of instructions (LLaVA-665k and others) and are not repeated here:
the numbers are yours.
"""

from curate.balance.budget import Budget
from curate.dedup.exact import ExactDedup
from curate.errors import RecipeError
from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.filters.script_words import ScriptWords
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    budgets: dict[str, float],
    unit: str = "samples",
    draw: bool = False,
    model: str = "ViT-L-14:openai",
    min_words: int = 2,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """unit: what a budget counts: samples or words.
    draw: draw at random instead of by CLIP score.
    """
    if unit not in ("samples", "words"):
        raise RecipeError(f"small_model_mix: --unit is samples or words, not {unit}")
    cost, by = "script_words" if unit == "words" else "", () if draw else ("clip_score",)
    return Recipe(
        source=source,
        score=[ScriptWords(min=min_words), Fetch(), *([] if draw else [ClipEmbed(model=model), ClipScore()])],
        select=[ExactDedup(by=by), Budget(budgets, cost=cost, by=by, seed=seed)],
        shards=Shards(size=shard_size, seed=seed),
    )
