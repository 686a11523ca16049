"""CLIP's WIT-400M (Radford et al. 2021, arXiv 2103.00020): pairs whose text holds one of 500,000 queries, 20,000 a query.

OpenAI's 500,000 queries: words seen 100 times and more in English Wikipedia, word pairs with high mutual information, titles
of much read articles, WordNet synsets. The list and the pool are private; --entries is yours (MetaCLIP's published
`metadata.json`, or one made with curate.balance.entries). The paper says "up to 20,000 pairs per query" and not how they are
drawn: here the probability of a row is MetaCLIP's, so that a query of more rows has about --t draws. Text alone decides.
Published: 400M pairs; ImageNet zero-shot 63.4 / 68.3 / 75.5 % with ViT-B/32, B/16, L/14. Language was not restricted by rule;
--languages can.
"""

from curate.balance.metaclip import Balance
from curate.fetch.stage import Fetch
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(
    source: Source,
    entries: str,
    t: float = 20_000,
    languages: tuple[str, ...] = (),
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """t: draws of a query, about.
    languages: languages that are kept; none given: all.
    """
    return Recipe(
        source=source,
        score=[
            *([Language(among=frozenset(languages), model=language_model)] if languages else []),
            Balance(entries=entries, t=t, seed=seed),
            Fetch(),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
