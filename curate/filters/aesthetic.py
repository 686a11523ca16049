"""Filter by an aesthetic score of the image."""

from dataclasses import dataclass

from curate.filters.embedding_head import EmbeddingHead


@dataclass
class Aesthetic(EmbeddingHead):
    """The rating from 1 to 10 that LAION's aesthetic predictors give to the image's CLIP ViT-L/14 (openai) embedding.

    head: `sac+logos+ava1-l14-linearMSE.pth` (the "improved" predictor) or `sa_0_4_vit_l_14_linear.pth` (the first), as
    published. LAION-Aesthetics v1 keeps more than 7, Stable Diffusion v1 more than 5, v2 4.5 and more.
    """

    unit = "1 to 10"

    min: float | None = 5.0
