"""Captioners and rewriters by name, for recipes and the command line."""

import dataclasses
import re
from typing import Any
from urllib.parse import parse_qsl

from curate.errors import RecipeError
from curate.synth.captioners.base import Writer

KINDS = "small, coca[:MODEL:WEIGHTS], caption:MODEL, chat:MODEL, text:MODEL, vllm:MODEL, or URL#MODEL"
_OPTIONS = re.compile(r"\?(\w+=[^?]*)$")


def named(name: str) -> Writer:
    """A model that writes, by its name. RecipeError says what names there are.

    `small`; `coca:coca_ViT-B-32:weights.pt` (open_clip); with transformers `caption:Salesforce/blip-image-captioning-large`
    (image to text), `chat:llava-hf/llava-1.5-7b-hf` (vision-language), `text:Qwen/Qwen2.5-3B-Instruct` (text only);
    `vllm:MODEL`; and an OpenAI-compatible endpoint `http://127.0.0.1:8000/v1#MODEL`, or several, parted by commas before the `#`.
    Parameters of the writer may follow: `http://host/v1#MODEL?price_in=0.15&price_out=0.6`, `vllm:MODEL?tensor=4&images=8`.
    """
    options = _OPTIONS.search(name)
    if options is None:
        return _named(name)
    return _with(_named(name[: options.start()]), dict(parse_qsl(options[1], keep_blank_values=True)), name)


def _with(writer: Writer, options: dict[str, str], name: str) -> Writer:
    """The writer with some of its parameters; RecipeError if it has none of that name, or the value is of another type."""
    values: dict[str, Any] = {}
    for key, text in options.items():
        default = next((getattr(writer, f.name) for f in dataclasses.fields(writer) if f.name == key), None)
        if default is None or key == "model":
            known = ", ".join(f.name for f in dataclasses.fields(writer) if f.name != "model")
            raise RecipeError(f"captioner {name}: no parameter {key}; there are {known}")
        try:
            values[key] = type(default)(text)
        except ValueError as e:
            raise RecipeError(f"captioner {name}: {key} is a number, not {text}") from e
    return dataclasses.replace(writer, **values)


def _named(name: str) -> Writer:
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
