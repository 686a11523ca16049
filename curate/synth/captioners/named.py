"""Captioners and rewriters by name, for recipes and the command line."""

import re

from curate.errors import RecipeError
from curate.synth.captioners.base import Writer

KINDS = "small, coca[:MODEL:WEIGHTS], caption:MODEL, chat:MODEL, text:MODEL, vllm:MODEL, or URL#MODEL"


def named(name: str) -> Writer:
    """A model that writes, by its name. RecipeError says what names there are.

    `small`; `coca:coca_ViT-B-32:weights.pt` (open_clip); with transformers `caption:Salesforce/blip-image-captioning-large`
    (image to text), `chat:llava-hf/llava-1.5-7b-hf` (looks and answers), `text:Qwen/Qwen2.5-3B-Instruct` (no eyes);
    `vllm:MODEL`; and an OpenAI-compatible endpoint `http://127.0.0.1:8000/v1#MODEL`.
    """
    if re.match(r"https?://", name):
        from curate.synth.captioners.endpoint import Endpoint

        url, _, model = name.partition("#")
        if not model:
            raise RecipeError(f"captioner {name}: say which model, {url}#MODEL")
        return Endpoint(model, url=url)
    kind, _, model = name.partition(":")
    if kind in ("small", "coca"):
        from curate.synth.captioners.local import Coca, Small

        return Small() if kind == "small" else Coca(model) if model else Coca()
    if kind in ("caption", "chat", "text") and model:
        from curate.synth.captioners.hugging import ChatText, ChatVlm, ImageToText

        return {"caption": ImageToText, "chat": ChatVlm, "text": ChatText}[kind](model)
    if kind == "vllm" and model:
        from curate.synth.captioners.vllm import Vllm

        return Vllm(model)
    raise RecipeError(f"captioner {name}: there are {KINDS}")
