"""Captioners and rewriters that vLLM runs beside this process: its asynchronous engine forms a batch anew for every token."""

import importlib.util
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.errors import RecipeError
from curate.models import hugging_ready
from curate.synth.captioners.base import Answer, Decoding, PreparedImage, Request, Writer, seen
from curate.synth.captioners.hugging import downscale, pixels, turns


@dataclass
class Vllm(Writer):
    """A chat model by vLLM's asynchronous engine: continuous batching, prefix caching, guided decoding of JSON.

    largest: pictures are scaled down to this longer side, in pixels. images: most pictures in a request. context: longest prompt and
    answer, in tokens (0: the model's). share: of the GPU's memory. at_once: most requests in one batch; half as many more are with the
    engine, which prepares their pictures meanwhile.
    tensor, pipeline: GPUs that a layer, and the stack of layers, is divided over; a worker has tensor x pipeline GPUs. On Ray they come
    from a placement group, from one machine where they fit one, else from several.
    lora: an adapter, as NAME=PATH.
    """

    engine = "vllm"
    takes_videos = True
    untracked = ("share", "at_once", "tensor", "pipeline")

    model: str = "Qwen/Qwen2.5-VL-3B-Instruct"
    revision: str = ""
    largest: int = 1024
    context: int = 4096
    share: float = 0.9
    images: int = 1
    at_once: int = 256
    tensor: int = 1
    pipeline: int = 1
    lora: str = ""

    def __post_init__(self):
        if self.tensor < 1 or self.pipeline < 1:
            raise RecipeError(f"vllm: tensor {self.tensor} x pipeline {self.pipeline}: both are 1 or more")
        if self.lora and "=" not in self.lora:
            raise RecipeError(f"vllm: lora {self.lora}: say NAME=PATH")
        self.gpus, self.most_pictures = self.tensor * self.pipeline, self.images

    @property
    def room(self) -> int:
        return self.at_once + self.at_once // 2

    def weights(self) -> str:
        return f"{self.model}@{self.revision or 'main'}"

    def preflight(self) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise RecipeError(f"model {self.model}: the package vllm is not installed here; {self.instead}")
        hugging_ready(f"model {self.model}", self.model, self.instead, self.revision)

    def load(self) -> None:
        from transformers import AutoProcessor

        revision = {"revision": self.revision} if self.revision else {}
        self._template = AutoProcessor.from_pretrained(self.model, **revision).apply_chat_template

    def engine_arguments(self) -> Any:
        """vLLM's AsyncEngineArgs."""
        from vllm import AsyncEngineArgs
        from vllm.ray.lazy_utils import is_in_ray_actor

        return AsyncEngineArgs(
            model=self.model,
            revision=self.revision or None,
            max_model_len=self.context or None,
            max_num_seqs=self.at_once,
            gpu_memory_utilization=self.share,
            limit_mm_per_prompt={"image": self.images},
            tensor_parallel_size=self.tensor,
            pipeline_parallel_size=self.pipeline,
            # Left to itself it refuses a placement group that spans machines: it counts the GPUs of this one.
            distributed_executor_backend="ray" if self.gpus > 1 and is_in_ray_actor() else None,
            enable_prefix_caching=True,
            enable_lora=bool(self.lora),
        )

    async def start(self) -> None:
        from vllm.v1.engine.async_llm import AsyncLLM

        self._llm, self._numbers, self._lora = AsyncLLM.from_engine_args(self.engine_arguments()), itertools.count(), None
        if self.lora:
            from vllm.lora.request import LoRARequest

            name, _, path = self.lora.partition("=")
            self._lora = LoRARequest(name, 1, path)

    async def stop(self) -> None:
        self._llm.shutdown()

    def prepare(self, image: np.ndarray) -> PreparedImage:
        return seen(downscale(image, self.largest))

    async def answer(self, request: Request, decoding: Decoding) -> Answer:
        if decoding.beams > 1:
            raise RecipeError("Vllm draws; for beam search take Coca, ImageToText or ChatVlm")
        number = str(next(self._numbers))
        found = self._llm.generate(self._prompt(request), sampling(request, decoding), number, lora_request=self._lora)
        last = [each async for each in found][-1]  # one, for only the whole text is asked for
        out = last.outputs[0]
        end = "length" if out.finish_reason == "length" else "stop"
        return Answer(out.text.strip(), end, len(out.token_ids), len(last.prompt_token_ids or ()))

    def _prompt(self, request: Request) -> dict[str, Any]:
        """The request by the model's chat template, with its pictures."""
        from PIL import Image

        asked = turns(request) if request.seen else [{"role": "user", "content": request.text}]
        prompt = {"prompt": self._template(asked, add_generation_prompt=True, tokenize=False)}
        shown = {
            "image": [Image.fromarray(p.data) for p in request.pictures],
            "video": [pixels(v) for v in request.videos],
        }
        if request.seen:
            prompt["multi_modal_data"] = {kind: each for kind, each in shown.items() if each}
        return prompt


def sampling(request: Request, decoding: Decoding) -> Any:
    """vLLM's words for how tokens are chosen; with a schema only tokens that follow it."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    schema = {"structured_outputs": StructuredOutputsParams(json=decoding.schema)} if decoding.schema else {}
    return SamplingParams(
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        top_k=decoding.top_k or -1,
        min_tokens=decoding.min_tokens,
        max_tokens=decoding.max_tokens,
        repetition_penalty=decoding.repetition,
        seed=request.seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
        **schema,
    )
