"""Preference pairs as LLaVA-RLHF has them (Sun et al. 2023, arXiv 2309.14525): two answers about each picture, and which is better.

Published: 10,000 pairs judged by people, answers of one model at a temperature of 0.7; 94 % of text-only GPT-4 on LLaVA-Bench (before: at
most 87 %), + 60 % on MMHal-Bench. VLFeedback (arXiv 2312.10665) has four answers to each of 80,000 instructions, rated by GPT-4V. Here
--judge looks at the picture and both answers, in both orders, and a pair counts where both say the same (Zheng et al. 2023, arXiv 2306.05685).
People judge with `curate annotate --pair preference_pair`, and their word counts before the model's. `curate export --format trl` or
`llava-rlhf` writes the pairs that are decided; the others stay in the shards.
"""

from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, named
from curate.synth.preference import Prefer, Preference


def recipe(
    source: Source,
    captioner: str = "chat:llava-hf/llava-1.5-7b-hf",
    other: str = "",
    judge: str = "chat:Qwen/Qwen2.5-VL-7B-Instruct",
    question: str = "question",
    temperature: float = 0.7,
    seed: int = 0,
    shard_size: int = 10_000,
) -> Recipe:
    """captioner: model that writes the first answer.
    other: model that writes the second; none: the same, drawn again.
    judge: vision-language model that compares them; no: people alone.
    question: what is asked, or a name of synth.prompts.
    temperature: of both answers; at 0 two draws of one model are the same.
    """
    drawn = Decoding(temperature=temperature, max_tokens=192)
    pair = ("caption_first", "caption_second")
    writers = ((captioner, seed), (other or captioner, seed if other else seed + 1))
    judges = {"prefer_forward": False, "prefer_backward": True} if judge not in ("", "no") else {}
    return Recipe(
        source=source,
        score=[Fetch()],
        synth=[
            *(
                Caption(named(model), prompt=question, decoding=drawn, seed=own, name=name)
                for name, (model, own) in zip(pair, writers)
            ),
            *(
                Prefer(named(judge), of=pair, question=question, swapped=swapped, decoding=Decoding(max_tokens=8), name=name)
                for name, swapped in judges.items()
            ),
            Preference(of=pair, question=question, by=tuple(judges)),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
