"""Augmented texts and views of pictures beside the pairs, as DeCLIP (Li et al. 2021, arXiv 2110.05208) and SLIP (Mu et al. 2021, arXiv
2112.12750) train with them.

Texts by the rules of EDA (Wei and Zou 2019, arXiv 1901.11196): a tenth of the words swapped, deleted, and with --wordnet replaced by synonyms. Views
by SimCLR's (arXiv 2002.05709): crops of half the area and more, mirrors, colours, grey, blur. What was done to each is recorded, drawn by the hash of
the uid; `curate export --format views` makes the pictures, loaders may draw among the texts. Half of the area is
SLIP's bound for the picture beside its text; its views without a text show 0.08 and more. Published: DeCLIP's ResNet-50 has ImageNet 60.4
from 7.1 times fewer pairs than CLIP, which has 59.6 from 400M, and 62.5 from 88M; SLIP's ViT-L 46.2, CLIP's 40.4 on YFCC15M.
"""

from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.augment import AugmentImage, AugmentText


def recipe(
    source: Source,
    texts: int = 4,
    views: int = 2,
    crop: float = 0.5,
    mirror: float = 0.5,
    wordnet: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """texts: variants of each text.
    views: views of each picture.
    crop: least share of the area that a view shows.
    mirror: share of the views that are mirrored; 0 for pictures with writing.
    wordnet: folder of WordNet's database, for synonyms.
    """
    kinds = ("synonym", "swap", "insert", "delete") if wordnet else ("swap", "delete")
    return Recipe(
        source=source,
        score=[Fetch()],
        synth=[
            AugmentText(n=texts, kinds=kinds, wordnet=wordnet, seed=seed),
            AugmentImage(n=views, crop=crop, mirror=mirror, seed=seed),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
