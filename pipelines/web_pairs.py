"""The whole job for image-text pairs: from a list of URLs to balanced shards, by the rules that the literature found best.

text       language by fastText and by script; 3 words and 6 characters (DataComp's basic filter, arXiv 2304.14108); at most a fifth of the
           words repeated (CC12M, 2102.08981); no boilerplate (DALL-E, 2102.12092); no text of more than ten pictures (ALIGN, 2102.05918)
image      5 kB (LAION, 2210.08402), sides of 200 pixels, at most 3:1 (DataComp); open_nsfw at most 0.5 (COYO-700M)
alignment  the 30 % of the pool with the highest CLIP score (DataComp, section 4.1)
duplicates the same bytes, the same look (perceptual hash), the same meaning (SemDeDup, 2303.09540: FAISS on CLIP embeddings)
evaluation pictures and texts of the sets that --evaluation names
balance    words of the captions, 6 % of matches in the tail (MetaCLIP, 2309.16671), then clusters of pictures (Vo et al., 2405.15613)
captions   written for a fifth of what is left (Recap-DataComp, 2406.08478), taken where they fit no worse than the raw text (BLIP-2, 2301.12597)

The defaults are the bundled models, which need no network. For data from the web name published ones:
--model ViT-L-14:openai --captioner caption:Salesforce/blip2-opt-2.7b. Ours: the draw of four in five for clusters, and eps.
"""

from curate import (
    AspectRatio, Balance, BoilerplateText, Caption, CaptionChars, CaptionFaults, CaptionRepetition, CaptionScore, CaptionWords, ClipEmbed,
    ClipScore, ClusterBalance, Decontaminate, ExactDedup, Fetch, Frequency, ImageBytes, ImageSide, Language, Mix, NearDedup, Nsfw,
    PerceptualHash, Recipe, SemanticDedup, Shards, Source, Stage, TextDedup, TopFraction,
)  # fmt: skip


def recipe(
    source: Source,
    model: str = "small",
    captioner: str = "small",
    languages: frozenset[str] = frozenset({"en"}),
    max_nsfw: float = 0.5,
    nsfw_model: str = "",
    fraction: float = 0.3,
    eps: float = 0.01,
    near_text: float = 0.0,
    evaluation: dict[str, str] | None = None,
    entries: str = "",
    balanced: float = 0.8,
    raw: float = 0.8,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """captioner: model that looks at pictures and writes: small (bundled), caption:NAME, chat:NAME, coca or a URL; '': no captions.
    languages: what captions may be in, ISO 639-1; empty: any.
    eps: pictures with a cosine of 1 - eps or more mean the same.
    near_text: Jaccard similarity from which on captions are duplicates, whatever their pictures; 0: not asked.
    evaluation: evaluation sets whose pictures and texts must not be in the pool: name=folder, tar or .npy.
    entries: file of concepts to balance over; none: the 500,000 most frequent words of the captions.
    balanced: share that is kept by sampling from clusters of pictures.
    raw: share of the samples whose raw text is drawn.
    """
    by = ("clip_score",)
    text = [CaptionWords(min=3), CaptionChars(min=6), CaptionRepetition(max=0.2), BoilerplateText(max=0.5)]
    image = [
        ImageBytes(min=5_000),
        ImageSide(min=200),
        AspectRatio(max=3.0),
        PerceptualHash(),
        Nsfw(max=max_nsfw, model=nsfw_model),
    ]
    concepts = {"entries": entries} if entries else {"words": 500_000}
    return Recipe(
        source=source,
        score=[Language(among=languages, rules=True), *text, Fetch(), *image, ClipEmbed(model=model), ClipScore()],
        select=[
            Frequency(("text",), max=10, distinct="sha256", name="images_of_text"),
            TopFraction("clip_score", fraction),
            ExactDedup(by=by),
            NearDedup(by=by),
            *([TextDedup(min=near_text, by=by)] if near_text else []),
            SemanticDedup(eps=eps, by=by, seed=seed),
            *([Decontaminate(evaluation)] if evaluation else []),
            Balance(**concepts, tail=0.06, seed=seed),
            ClusterBalance(fraction=balanced, clusters=(0,), seed=seed),
        ],
        synth=synthetic(captioner, model, raw, seed) if captioner and raw < 1 else [],
        shards=Shards(size=shard_size, seed=seed),
    )


def synthetic(captioner: str, model: str, raw: float, seed: int) -> list[Stage]:
    """Captions for a share of the samples, which replace raw texts that fit no better."""
    written = "caption_synthetic"
    return [
        Caption(captioner, seed=seed, name=written, share=1 - raw),
        CaptionFaults(written, without=frozenset({"cut_off"})),
        CaptionScore(model, of=written),
        Mix({"raw": raw, "synthetic": 1 - raw}, checked=("synthetic",), no_worse=True, seed=seed),
    ]
