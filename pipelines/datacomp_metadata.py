"""DataComp's baselines on CommonPool's own metadata (Gadre et al. 2023, arXiv 2304.14108): no model, and no picture unless asked.

Reads what is published with the pool: `--pairs 'metadata/*.parquet' --url url --text text`, with CLIP scores, sizes, hashes and boxes of
faces as columns, and the embeddings in the `.npz` of the same name beside each file. --filter names the baseline: none, basic,
clip_score (--fraction of --arch l14 or b32), laion2b, text_based (--synsets), image_based (--reference), image_and_clip (both). What
stays is DataComp's subset file: `curate export RUN --format datacomp-subset -o subset.npy`.

--fetch yes downloads what stays, each file only if it has the hash of the list, and blurs the faces that the list names; with
`--resize keep_ratio_largest --image-size 512 --only-if-bigger` as DataComp's downloader does.

Differs: English is told by the bundled lid.176.ftz; DataComp's .bin is --language-model. The laion2b baseline told it by cld3.
"""

from curate.balance.image_based import ImageBased
from curate.balance.text_based import TextBased
from curate.errors import RecipeError
from curate.fetch.blur_faces import BlurFaces
from curate.fetch.stage import Fetch
from curate.filters.caption_chars import CaptionChars
from curate.filters.caption_words import CaptionWords
from curate.filters.language import Language
from curate.recipe import Recipe, Shards
from curate.select.top_fraction import TopFraction
from curate.select.where import Where
from curate.source import Source
from curate.sources.stored_embedding import StoredEmbedding
from curate.stage import Step

BASELINES = ("none", "basic", "clip_score", "laion2b", "text_based", "image_based", "image_and_clip")


def recipe(
    source: Source,
    filter: str = "clip_score",
    arch: str = "l14",
    fraction: float = 0.3,
    min_clip: float = 0.28,
    reference: str = "",
    clusters: int = 100_000,
    centroids: str = "",
    kmeans: str = "l2",
    synsets: str = "",
    wordnet: str = "/usr/share/wordnet",
    language_model: str = "",
    fetch: bool = False,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """filter: none, basic, clip_score, laion2b, text_based, image_based or image_and_clip.
    arch: whose scores and embeddings: l14 or b32.
    kmeans: how centroids are trained where no file names them: l2, as DataComp did, on all rows that the rules of captions leave and in
        one task's memory, or spherical, on a sample.
    synsets: file of WordNet's numbers, one a line (text_based): the benchmark's imagenet21k_wordnet_ids.txt.
    wordnet: folder of WordNet's files (Debian: wordnet-base).
    fetch: download what stays, and write shards.
    """
    if filter not in BASELINES or arch not in ("l14", "b32"):
        raise RecipeError(f"--filter {filter} --arch {arch}: the filter is one of {', '.join(BASELINES)}, arch l14 or b32")
    score, column = f"source_clip_{arch}_similarity_score", f"{arch}_img"
    steps: list[Step] = [] if filter in ("none", "clip_score") else [Language(model=language_model, script_check=False)]
    if filter == "basic":
        steps += _basic()
    elif filter == "laion2b":
        steps += [Where("source_clip_b32_similarity_score", min=min_clip)]
    elif filter == "text_based":
        steps += [TextBased(synsets=synsets, wordnet=wordnet)]
    elif filter in ("image_based", "image_and_clip"):
        near = ImageBased(reference=reference, column=column, clusters=clusters, centroids=centroids, kmeans=kmeans, seed=seed)
        steps += [CaptionWords(min=2), CaptionChars(min=6), StoredEmbedding(column), near]
    if filter == "clip_score":
        steps = [TopFraction(score, fraction)]
    elif filter == "image_and_clip":  # the cut is that of the whole pool, and is asked last
        steps = [TopFraction(score, fraction, mark="top_fraction"), *steps, Where(sql="top_fraction")]
    if fetch:
        steps += [Fetch(hash_column="source_sha256"), BlurFaces(boxes="source_face_bboxes")]
    return Recipe(source, steps, shards=Shards(size=shard_size, seed=seed) if fetch else None)


def _basic() -> list[Step]:
    """Captions and sizes of the basic filter, English apart."""
    sides = "source_original_width, source_original_height"
    return [
        CaptionWords(min=3),
        CaptionChars(min=6),
        Where(sql=f"least({sides}) >= 200", name="image_side"),
        Where(sql=f"greatest({sides}) / least({sides})::double <= 3.0", name="aspect_ratio"),
    ]
