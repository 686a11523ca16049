"""Tokenizers of language models, by file or name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import RecipeError


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer of Hugging Face's `tokenizers`. Special tokens are never read out of a text: `<image>` in it is six characters."""

    inner: Any
    name: str

    def ids(self, text: str) -> list[int]:
        """The text's tokens, without special ones."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def pieces(self, text: str) -> list[str]:
        """The text cut where its tokens begin: pieces that join to it again. Characters that share a token, or have none, stay together."""
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
    try:
        import tokenizers
    except ImportError as e:
        raise RecipeError(f"tokenizer {name}: the package tokenizers is not installed here: pip install tokenizers") from e
    path = Path(name) / "tokenizer.json" if Path(name).is_dir() else Path(name)
    try:
        made = tokenizers.Tokenizer
        inner = made.from_file(str(path)) if path.is_file() else made.from_pretrained(name)
    except Exception as e:  # tokenizers raises bare Exceptions
        raise RecipeError(
            f"tokenizer {name}: neither a tokenizer.json, a folder with one, nor a name that the hub has: {e}"
        ) from e
    inner.no_truncation()
    inner.no_padding()
    inner.encode_special_tokens = True
    return Tokenizer(inner, name)
