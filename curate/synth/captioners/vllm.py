"""Captioners and rewriters that vLLM runs, in the process of the actor that holds them."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.errors import RecipeError
from curate.models import hugging_ready
from curate.synth.captioners.base import Answer, Decoding, Request, Seen, Writer, seen
from curate.synth.captioners.hugging import smaller


@dataclass
class Vllm(Writer):
    """A chat model by vLLM's offline engine, which forms its own batches.

    largest: pictures are scaled down to this longer side, in pixels. context: longest prompt and answer, in tokens (0: the
    model's).
    share: of the GPU's memory.
    """

    engine = "vllm"
    batch = 256  # vLLM forms its own batches; it only has to have enough to do
    untracked = ("share",)

    model: str = "Qwen/Qwen2.5-VL-3B-Instruct"
    revision: str = ""
    largest: int = 1024
    context: int = 4096
    share: float = 0.9

    def weights(self) -> str:
        return f"{self.model}@{self.revision or 'main'}"

    def preflight(self) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise RecipeError(f"model {self.model}: the package vllm is not installed here; {self.instead}")
        hugging_ready(f"model {self.model}", self.model, self.instead, self.revision)

    def load(self) -> None:
        from vllm import LLM

        self._llm = LLM(
            model=self.model,
            revision=self.revision or None,
            max_model_len=self.context or None,
            gpu_memory_utilization=self.share,
            limit_mm_per_prompt={"image": 1},
        )

    def prepare(self, image: np.ndarray) -> Seen:
        return seen(smaller(image, self.largest))

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        from vllm import SamplingParams

        if decoding.beams > 1:
            raise RecipeError("Vllm draws; for beam search take Coca, ImageToText or ChatVlm")
        how = [
            SamplingParams(
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                top_k=decoding.top_k or -1,
                min_tokens=decoding.min_tokens,
                max_tokens=decoding.max_tokens,
                repetition_penalty=decoding.repetition,
                seed=r.seed,
            )
            for r in requests
        ]
        found = self._llm.chat([self._turns(r) for r in requests], how, use_tqdm=False)
        return [
            Answer(
                f.outputs[0].text.strip(),
                "length" if f.outputs[0].finish_reason == "length" else "stop",
                len(f.outputs[0].token_ids),
                len(f.prompt_token_ids or ()),
            )
            for f in found
        ]

    def _turns(self, request: Request) -> list[dict[str, Any]]:
        from PIL import Image

        text = {"type": "text", "text": request.prompt}
        if request.seen is None:
            return [{"role": "user", "content": [text]}]
        return [{"role": "user", "content": [{"type": "image_pil", "image_pil": Image.fromarray(request.seen.data)}, text]}]
