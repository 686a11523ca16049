"""Tokenizers by name or file: ids for exported token streams, and token counts for bounds and budgets."""

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.models.files import ensure_torchvision, file_sha256, packaged
from curate.models.hub import on_hub

_FILE = "tokenizer.json"
_PACKAGE = "tokenizers need the package tokenizers: pip install 'curate-multimodal[captions]'"

#: From texts to the number of tokens of each, special ones left out.
Counter = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer of Hugging Face's `tokenizers`. Special tokens are never read out of a text: `<image>` in it is six characters."""

    inner: Any
    name: str

    def ids(self, text: str) -> list[int]:
        """The text's tokens, without special ones."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def spans(self, text: str) -> list[str]:
        """The text split where its tokens begin; joined, the spans are the text again. Characters that share a token, or have none, stay together."""
        starts = sorted(
            {start for start, end in self.inner.encode(text, add_special_tokens=False).offsets if end > start} - {0}
        )
        return [text[a:b] for a, b in zip([0, *starts], [*starts, len(text)]) if a < b]

    def special(self, tokens: list[str]) -> dict[str, int]:
        """The ids of special tokens; those that the vocabulary lacks are added at its end."""
        lacking = [t for t in tokens if self.inner.token_to_id(t) is None]
        if lacking:
            self.inner.add_special_tokens(lacking)
        return {t: self.inner.token_to_id(t) for t in tokens}

    def save(self, path: Path) -> None:
        """A `tokenizer.json` with the tokens that were added."""
        self.inner.save(str(path))


def tokenizer(name: str) -> Tokenizer:
    """A tokenizer by a `tokenizer.json`, the folder that holds one, or its name on the hub. RecipeError where there is none."""
    if importlib.util.find_spec("tokenizers") is None:
        raise RecipeError(f"tokenizer {name}: {_PACKAGE}")
    import tokenizers

    path = _path(name)
    try:
        made = tokenizers.Tokenizer
        inner = made.from_file(str(path)) if path else made.from_pretrained(name)
    except Exception as e:  # tokenizers raises bare Exceptions
        raise RecipeError(
            f"tokenizer {name}: neither a tokenizer.json, a folder with one, nor a name that the hub has: {e}"
        ) from e
    inner.no_truncation()
    inner.no_padding()
    inner.encode_special_tokens = True
    return Tokenizer(inner, name)


def tokenizer_ready(who: str, name: str) -> None:
    """RecipeError unless a tokenizer is on this machine, or the hub has it."""
    if name == "clip":
        return
    if importlib.util.find_spec("tokenizers") is None:
        raise RecipeError(f"{who}: {_PACKAGE}")
    if _path(name) is None:
        on_hub(who, name, (_FILE,), "give a folder, a tokenizer.json, or clip")


def tokenizer_id(name: str) -> str:
    """The identity of a tokenizer: the SHA-256 of its file, or of its name where it comes from the hub."""
    if name == "clip":
        vocabulary = packaged("open_clip", "bpe_simple_vocab_16e6.txt.gz")
        return file_sha256(str(vocabulary)) if vocabulary else ""
    path = _path(name)
    return file_sha256(str(path)) if path else hashlib.sha256(name.encode()).hexdigest()


@functools.lru_cache(maxsize=4)
def counter(name: str) -> Counter:
    """A function that counts tokens. name: `clip` (open_clip's own tokenizer), or as in `tokenizer`."""
    if name == "clip":
        ensure_torchvision()
        import open_clip

        encode = open_clip.tokenizer.SimpleTokenizer().encode
        return lambda texts: [len(encode(t)) for t in texts]
    inner = tokenizer(name).inner
    return lambda texts: [len(e.ids) for e in inner.encode_batch(list(texts), add_special_tokens=False)]


def _path(name: str) -> Path | None:
    """The file of a tokenizer that is on this machine."""
    path = Path(name) / _FILE if Path(name).is_dir() else Path(name)
    return path if path.is_file() else None
