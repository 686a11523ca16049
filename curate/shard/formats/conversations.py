"""Export of instructions and preferences for trainers of assistants: LLaVA's JSON, TRL's preference rows, LLaVA-RLHF's comparisons."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate.errors import PoolError, RecipeError
from curate.shard.formats.base import Options, Pictures
from curate.shard.samples import ShardSample
from curate.synth.instruct import IMAGE


def column_of(sample: ShardSample, ending: str, options: Options) -> str:
    """The column with the conversations or preferences: that of the option `turns`, else the only one with this ending. RecipeError
    otherwise."""
    if options.turns:
        return options.turns
    found = [name for name in sample.info if name.endswith(ending)]
    if len(found) == 1:
        return found[0]
    raise RecipeError(f"which column? {', '.join(sorted(found)) or f'none ends in {ending}'}: say --turns COLUMN")


def llava(sample: ShardSample, options: Options) -> dict[str, Any] | None:
    """A sample of LLaVA's JSON: {id, image, conversations}, `image` relative to the folder. Samples without turns are left out."""
    turns = sample.column(column_of(sample, "_turns", options))
    if not turns:
        return None
    made = {"id": sample.key, "image": Pictures().path(sample), "conversations": turns}
    check(made)
    return made


def check(sample: Mapping[str, Any]) -> None:
    """PoolError unless there are as many placeholders as pictures, all in human turns, and human and gpt turns alternate, human first."""
    turns = sample["conversations"]
    pictures = sample["image"] if isinstance(sample["image"], list) else [sample["image"]]
    marks = sum(t["value"].count(IMAGE) for t in turns)
    human = sum(t["value"].count(IMAGE) for t in turns if t["from"] == "human")
    if not (marks == human == len(pictures)):
        raise PoolError(f"sample {sample['id']}: {marks} placeholders ({human} of a person's) for {len(pictures)} pictures")
    if len(turns) % 2 or [t["from"] for t in turns] != ["human", "gpt"] * (len(turns) // 2):
        raise PoolError(f"sample {sample['id']}: turns are not human and gpt by turns")


# ---- preferences

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_TEXT = {"dtype": "string", "_type": "Value"}
_MESSAGE_FEATURE = {"feature": {"role": _TEXT, "content": _TEXT}, "_type": "List"}
#: Metadata for `datasets`, which says that `images` are pictures. It is accepted only for the types that `datasets` itself writes.
_FEATURES = {
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    **{name: _MESSAGE_FEATURE for name in ("prompt", "chosen", "rejected")},
    "id": _TEXT,
}
TRL = pa.schema(
    [
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("prompt", _MESSAGES),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        ("id", pa.string()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


def preferred_pair(sample: ShardSample, options: Options) -> dict[str, Any] | None:
    """The pair of answers of a sample with the preferred one (of annotators, or else of the judge); None if none is preferred."""
    pair = sample.column(column_of(sample, "_pair", options))
    preferred = sample.preferred or (pair and pair["preferred"])
    return {**pair, "preferred": preferred} if pair and preferred else None


def trl(sample: ShardSample, options: Options) -> dict[str, Any] | None:
    """A row of TRL's preference datasets with pictures (DPO, reward models): conversational `prompt`, `chosen` and `rejected`, and
    `images` as `datasets` decodes them. Samples without a preferred answer are left out."""
    pair = preferred_pair(sample, options)
    if pair is None:
        return None
    answers = [[{"role": "assistant", "content": pair[which]}] for which in ("first", "second")]
    chosen, rejected = answers if pair["preferred"] == 1 else answers[::-1]
    return {
        "images": [{"bytes": sample.read(sample.picture), "path": f"{sample.key}.{sample.picture}"}],
        "prompt": [{"role": "user", "content": pair["question"]}],
        "chosen": chosen,
        "rejected": rejected,
        "id": sample.key,
    }


def llava_rlhf(sample: ShardSample, options: Options) -> dict[str, Any] | None:
    """A comparison for LLaVA-RLHF's reward model (2309.14525): its loader replaces the last turn by `output_1` and `output_2`;
    `preference` is 1 or 2. Samples without a preferred answer are left out."""
    pair = preferred_pair(sample, options)
    if pair is None:
        return None
    return {
        "id": sample.key,
        "image": Pictures().path(sample),
        "conversations": [
            {"from": "human", "value": f"{IMAGE}\n{pair['question']}"},
            {"from": "gpt", "value": ""},
        ],
        "output_1": {"from": "llava", "value": pair["first"]},
        "output_2": {"from": "llava", "value": pair["second"]},
        "preference": pair["preferred"],
    }
