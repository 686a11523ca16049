"""Instruction data in LLaVA's way (Liu et al. 2023, arXiv 2304.08485): a text-only model writes a conversation about each
picture from its captions; `curate export --format llava` writes LLaVA's JSON and the pictures.

Each picture has one kind of conversation, drawn with the shares of LLaVA's 158,000: 58,000 conversations, 23,000 descriptions, 77,000 with
reasoning (--prompt asks for one kind alone). Rows for which nothing was written stay in the shards, with the raw text alone, and are not in LLaVA's file. The
paper gave GPT-4 five human captions and boxes; here the raw text and a detailed caption are the facts, and --boxes names a column of
boxes if the source brings one. Published: 85.1 % of GPT-4 on its own questions, ScienceQA 92.5 % with GPT-4.
"""

from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named
from curate.synth.instruct import LLAVA, Instruct


def recipe(
    source: Source,
    captioner: str = "chat:llava-hf/llava-1.5-7b-hf",
    writer: str = "text:Qwen/Qwen2.5-7B-Instruct",
    prompt: str = "mix",
    boxes: str = "",
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """prompt: what to write: conversation, detail or reasoning, or a mix of these.
    boxes: column with boxes of objects (source_boxes for the list's column boxes); none: texts alone.
    """
    return Recipe(
        source=source,
        score=[Fetch()],
        synth=[
            Caption(named(captioner), prompt="detailed", decoding=Decoding(max_tokens=192), name="caption_detail"),
            Instruct(
                named(writer),
                prompt="conversation" if prompt == "mix" else prompt,
                kinds=LLAVA if prompt == "mix" else {},
                texts=("text", "caption_detail"),
                boxes=boxes,
                seed=seed,
                name="caption_instruct",
                decoding=Decoding(temperature=0.7, top_p=0.95, max_tokens=512),
            ),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
