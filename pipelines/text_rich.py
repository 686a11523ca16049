"""Instructions about the words in pictures, as LLaVAR has them (Zhang et al. 2023, arXiv 2306.17107): text is read in the pictures that show
some, and a text-only model writes conversations from it and a caption; beside them, questions for the words themselves.

Published: 422,000 pictures of LAION-5B that a classifier takes for text-rich, with what OCR reads in them as the answers (here
`ocr_area_text_turns`), and 16,000 conversations by GPT-4 from OCR and captions (`caption_rich_turns`); up to 20 points more on
text-based VQA. The paper finds such pictures by a classifier and clusters; here by the share of the picture under text, --min-text, whose
bound is ours. RapidOCR reads; the paper has PaddleOCR. Write them with `curate export --format llava --turns caption_rich_turns`.
"""

from curate.dedup.exact import ExactDedup
from curate.fetch.stage import Fetch
from curate.filters.image_side import ImageSide
from curate.filters.ocr_area import OcrArea
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named
from curate.synth.instruct import Instruct, Transcribe


def recipe(
    source: Source,
    captioner: str = "chat:llava-hf/llava-1.5-7b-hf",
    writer: str = "text:Qwen/Qwen2.5-7B-Instruct",
    min_side: int = 200,
    min_text: float = 0.03,
    side: int = 736,
    min_words: int = 3,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """min_text: share of the picture that text must cover.
    side: longer side in pixels at which text is looked for.
    min_words: words that must be read for a question for them.
    """
    return Recipe(
        source=source,
        score=[Fetch(), ImageSide(min=min_side), OcrArea(side=side)],
        select=[ExactDedup(), Where("ocr_area", min=min_text, name="min_text")],
        synth=[
            Transcribe(min_words=min_words, seed=seed),
            Caption(named(captioner), prompt="detailed", decoding=Decoding(max_tokens=192), name="caption_detail"),
            Instruct(
                named(writer),
                prompt="text_rich",
                texts=("caption_detail", "ocr_area_text"),
                decoding=Decoding(temperature=0.7, top_p=0.95, max_tokens=512),
                seed=seed,
                name="caption_rich",
            ),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
