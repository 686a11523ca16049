"""Texts that are nearly right, for training that asks for more than a bag of words: NegCLIP's swaps (Yuksekgonul et al. 2023,
arXiv 2210.01936) by rule in `text_negatives`, and for image-text matching the other row's text that is hardest to tell from the
own one (`matching_negative_text`), as ALBEF and BLIP mine them in a batch. Each picture once before that, and no text of a picture that
looks the same or of words that the own one has: these would be true. `matching_negative_images` are the three nearest other pictures, as NegCLIP
draws one; `curate export --format negclip` writes its table. A swap by rule may read oddly. Published: ARO's relations 59 % with
CLIP, 81 % with NegCLIP; its attributions 71 % with NegCLIP.
"""

from curate.dedup.exact import ExactDedup
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.matching import MatchingNegatives
from curate.synth.negatives import HardNegatives


def recipe(
    source: Source,
    model: str = "ViT-B-32:laion2b_s34b_b79k",
    negatives: int = 4,
    group: int = 4096,
    same: float = 0.85,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """negatives: wrong texts made for each picture.
    group: rows among which the hardest other text is looked for.
    same: cosine of the embeddings of two pictures from which the text of one is taken to be true of the other.
    """
    return Recipe(
        source=source,
        score=[Fetch(), PerceptualHash(), ClipEmbed(model=model), ClipScore()],
        select=[ExactDedup(), NearDedup(), MatchingNegatives(group=group, same=same, seed=seed)],
        synth=[HardNegatives(n=negatives, seed=seed)],
        shards=Shards(size=shard_size, seed=seed),
    )
