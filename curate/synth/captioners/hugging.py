"""Captioners and rewriters that transformers runs: image-to-text models, vision-language chat models, text-only chat models."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import RecipeError
from curate.models import THREADS, ensure_torchvision, file_sha256, hugging_ready
from curate.synth.captioners.base import Answer, Decoding, PreparedImage, Request, Video, seen
from curate.synth.captioners.batches import BatchWriter
from curate.synth.captioners.decode import chance, pick


@dataclass
class Hugging(BatchWriter):
    """What transformers' models have in common. model: a folder, or `org/name` on the hub with a `revision`.

    largest: pictures are scaled down to this longer side, in pixels, beforehand
    (0: not at all); the model's own processor does the rest.
    """

    engine = "transformers"
    batch = 8

    revision: str = ""
    largest: int = 0

    def weights(self) -> str:
        folder = Path(self.model)
        if not folder.is_dir():
            return f"{self.model}@{self.revision or 'main'}"
        files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin"))
        return "sha256:" + hashlib.sha256("".join(file_sha256(str(p)) for p in files).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"version": 2}  # 1 kept settings of the model's own that Decoding did not name

    def preflight(self) -> None:
        hugging_ready(f"model {self.model}", self.model, self.instead, self.revision)

    def prepare(self, image: np.ndarray) -> PreparedImage:
        return seen(downscale(image, self.largest))

    def _load(self, maker: str, processor: str) -> None:
        import torch

        ensure_torchvision()
        import transformers

        revision = {"revision": self.revision} if self.revision else {}
        try:
            self._processor = getattr(transformers, processor).from_pretrained(self.model, **revision)
            self._model = getattr(transformers, maker).from_pretrained(self.model, dtype="auto", **revision).eval()
        except (OSError, ValueError, KeyError) as e:
            raise RecipeError(f"model {self.model}: {str(e).splitlines()[0][:300]}") from e
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        if self._device == "cpu":
            torch.set_num_threads(THREADS)
        self._model.to(self._device)
        self._tokenizer = getattr(self._processor, "tokenizer", self._processor)
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._tokenizer.padding_side = "left"
        settings = self._model.generation_config
        settings.pad_token_id = self._tokenizer.pad_token_id
        stops = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
        self._ends = {*stops, self._tokenizer.eos_token_id, self._tokenizer.sep_token_id} - {None}  # BLIP ends with a separator

    def _write(self, inputs: Any, requests: list[Request], decoding: Decoding) -> list[Answer]:
        import torch

        inputs = inputs.to(self._device)
        given = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, **self._how(requests, decoding))
        # An encoder-decoder starts afresh; a decoder's output begins with what it was given.
        if given and torch.equal(tokens[:, :given].cpu(), inputs["input_ids"].cpu()):
            tokens = tokens[:, given:]
        counts = inputs["attention_mask"].sum(1).tolist() if "attention_mask" in inputs else [None] * len(requests)
        return [self._answer(row, decoding, count) for row, count in zip(tokens.tolist(), counts)]

    def _how(self, requests: list[Request], decoding: Decoding) -> dict[str, Any]:
        from transformers import LogitsProcessorList

        # Unset parameters would be taken from the model's own generation_config.
        how = {
            "max_new_tokens": decoding.max_tokens,
            "min_new_tokens": decoding.min_tokens,
            "num_beams": decoding.beams,
            "do_sample": False,
            "repetition_penalty": float(decoding.repetition),
            "no_repeat_ngram_size": 0,
            "length_penalty": 1.0,
            "early_stopping": False,
        }
        if decoding.temperature > 0:
            how["logits_processor"] = LogitsProcessorList([SeededSampling([r.seed for r in requests], decoding)])
        return how

    def _answer(self, row: list[int], decoding: Decoding, tokens_in: int | None) -> Answer:
        ends = self._ends
        skipped = {
            self._tokenizer.pad_token_id,
            self._tokenizer.bos_token_id,
            self._model.generation_config.decoder_start_token_id,
        } - ends
        own = [t for t in row if t not in skipped]
        at = next((i for i, t in enumerate(own) if t in ends), None)
        text = self._tokenizer.decode(own if at is None else own[:at], skip_special_tokens=True).strip()
        return Answer(
            text,
            "length" if at is None and len(own) >= decoding.max_tokens - 1 else "stop",
            len(own) if at is None else at + 1,
            tokens_in,
        )


@dataclass
class SeededSampling:
    """A logits processor that draws: all is forbidden but the token that each row's own chance picks."""

    seeds: list[int]
    how: Decoding
    given: int = -1  # tokens before the first one drawn; padding is among them, so it must not count

    def __call__(self, tokens: Any, logits: Any) -> Any:
        if self.given < 0:
            self.given = tokens.shape[1]
        chosen = pick(logits, [chance(seed, tokens.shape[1] - self.given) for seed in self.seeds], self.how)
        return logits.new_full(logits.shape, -np.inf).scatter_(1, chosen[:, None], 0.0)


def downscale(image: np.ndarray, largest: int) -> np.ndarray:
    """Scaled down to a longer side of `largest` pixels; never up."""
    if not largest or max(image.shape[:2]) <= largest:
        return image
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((largest, largest), Image.Resampling.BICUBIC)
    return np.asarray(picture)


@dataclass
class ImageToText(Hugging):
    """A captioner such as BLIP, BLIP-2 or GIT. A prompt is the beginning of the caption; with "" it is free."""

    model: str = "Salesforce/blip-image-captioning-large"

    def load(self) -> None:
        self._load("AutoModelForImageTextToText", "AutoProcessor")

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        texts = {"text": [r.text for r in requests], "padding": True} if any(r.text for r in requests) else {}
        images = [r.pictures[0].data for r in requests]
        return self._write(self._processor(images=images, return_tensors="pt", **texts), requests, decoding)


@dataclass
class ChatVlm(Hugging):
    """A chat model that looks at pictures and answers a prompt (LLaVA, Qwen-VL, InternVL, SmolVLM ...), by its own chat
    template. Pictures stand among the texts where the request has them."""

    most_pictures = 16
    takes_videos = True

    model: str = "Qwen/Qwen2.5-VL-3B-Instruct"

    def load(self) -> None:
        self._load("AutoModelForImageTextToText", "AutoProcessor")

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        prompts = [self._processor.apply_chat_template(turns(r), add_generation_prompt=True, tokenize=False) for r in requests]
        pictures = [[p.data for p in r.pictures] for r in requests]
        videos = [pixels(v) for r in requests for v in r.videos]
        shown = {"images": pictures} if any(pictures) else {}
        shown |= {"videos": videos} if videos else {}
        return self._write(self._processor(text=prompts, padding=True, return_tensors="pt", **shown), requests, decoding)


def turns(request: Request) -> list[dict[str, Any]]:
    """A request as chat templates take it: one message of texts and marks of pictures and videos, in their order."""
    parts = [
        {"type": "text", "text": p} if isinstance(p, str) else {"type": "video" if isinstance(p, Video) else "image"}
        for p in request.content
    ]
    return [{"role": "user", "content": parts}]


def pixels(video: Video) -> np.ndarray:
    """The frames of a video: uint8 (frames, height, width, 3)."""
    return np.stack([frame.data for frame in video.frames])


@dataclass
class ChatText(Hugging):
    """A text-only chat model: rewrites, fuses and translates texts."""

    instead = "name a folder with the model, or an endpoint: --writer URL#MODEL"
    most_pictures = 0

    model: str = "Qwen/Qwen2.5-3B-Instruct"

    def load(self) -> None:
        self._load("AutoModelForCausalLM", "AutoTokenizer")

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        turns = [[{"role": "user", "content": r.text}] for r in requests]
        prompts = [self._tokenizer.apply_chat_template(t, add_generation_prompt=True, tokenize=False) for t in turns]
        # The template has written the special tokens already.
        inputs = self._tokenizer(prompts, padding=True, return_tensors="pt", add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        return self._write(inputs, requests, decoding)
