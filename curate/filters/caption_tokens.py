"""Tokens in the caption, by the tokenizer of the model that will be trained on it."""

from dataclasses import dataclass

import pyarrow as pa

from curate.models.tokenizer import counter, tokenizer_id, tokenizer_ready
from curate.stage import Filter


@dataclass
class CaptionTokens(Filter):
    """Tokens in the caption, special ones left out: what a text costs a model, for bounds and for budgets, `Budget(…, cost="caption_tokens")`.

    tokenizer: `clip` (CLIP's, which reads 77 with its two special ones), a `tokenizer.json` or a folder with one, or a model of the hub.

    CLIP (2103.00020) reads 77 tokens.
    """

    reads = ("text",)
    dtype = pa.int32()
    unit = "tokens"

    tokenizer: str = "clip"

    def weights(self) -> dict[str, str]:
        return {"tokenizer_hash": tokenizer_id(self.tokenizer)}

    def preflight(self, widths: dict[str, int]) -> None:
        tokenizer_ready(self.name, self.tokenizer)

    def score(self, live: pa.Table) -> pa.Array:
        texts = live["text"].to_pylist()
        counts = iter(counter(self.tokenizer)([t for t in texts if t is not None]))
        return pa.array([None if t is None else next(counts) for t in texts], self.dtype)
