"""Tokenizers by name or file: how many tokens a text has for the model that will be trained on it."""

import functools
import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence

from curate.errors import RecipeError
from curate.models.files import file_sha256, packaged
from curate.models.hub import on_hub

_FILE = "tokenizer.json"
_PACKAGE = "tokenizers need the package tokenizers: pip install 'curate-multimodal[captions]'"

#: From texts to the number of tokens of each, special ones left out.
Counter = Callable[[Sequence[str]], list[int]]


def tokenizer_ready(who: str, name: str) -> None:
    """RecipeError unless a tokenizer is here, or the hub has it."""
    if name == "clip":
        return
    if importlib.util.find_spec("tokenizers") is None:
        raise RecipeError(f"{who}: {_PACKAGE}")
    if _path(name) is None:
        on_hub(who, name, (_FILE,), "give a folder, a tokenizer.json, or clip")


def tokenizer_id(name: str) -> str:
    """What tells tokenizers apart: the SHA-256 of the file, or the name where it comes from the hub."""
    if name == "clip":
        vocabulary = packaged("open_clip", "bpe_simple_vocab_16e6.txt.gz")
        return file_sha256(str(vocabulary)) if vocabulary else ""
    path = _path(name)
    return file_sha256(path) if path else hashlib.sha256(name.encode()).hexdigest()


@functools.lru_cache(maxsize=4)
def counter(name: str) -> Counter:
    """A tokenizer as a function. name: `clip` (open_clip's own), a folder with a tokenizer.json, such a file, or a model of the hub."""
    if name == "clip":
        import open_clip

        encode = open_clip.tokenizer.SimpleTokenizer().encode
        return lambda texts: [len(encode(t)) for t in texts]
    from tokenizers import Tokenizer

    path = _path(name)
    try:
        tokenizer = Tokenizer.from_file(path) if path else Tokenizer.from_pretrained(name)
    except Exception as e:  # the library raises nothing narrower
        raise RecipeError(f"{path or name}: no tokenizer can be read there: {e}") from e
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(e.ids) for e in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def _path(name: str) -> str | None:
    """The file of a tokenizer that is on this machine."""
    path = os.path.join(name, _FILE) if os.path.isdir(name) else name
    return path if os.path.isfile(path) else None
