"""The small captioner: a transformer decoder that continues a few vectors made of a picture's features. 2 million
parameters."""

import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from curate.synth.captioners.decode import Marks

#: Width, layers, heads, vectors that stand for the picture, features of the picture, the longest text.
WIDTH, LAYERS, HEADS, PREFIX, FEATURES, LONGEST = 192, 2, 6, 4, 1280, 16
PAD, START, END, REST = 0, 1, 2, 3


@dataclass(frozen=True)
class Words:
    """The vocabulary: whole words, and pieces (`##ing`) for those that are rare."""

    words: list[str]
    marks: ClassVar[Marks] = Marks(START, END)

    def spell(self, tokens: list[int]) -> str:
        return " ".join(self.words[t] for t in tokens if t > REST).replace(" ##", "")

    def tokens(self, text: str) -> list[int]:
        """Longest match first; a letter that is in no piece is left out."""
        known = {w: i for i, w in enumerate(self.words)}
        found = []
        for word in plain_words(text):
            at = 0
            while at < len(word):
                head = "##" if at else ""
                end = next((e for e in range(len(word), at, -1) if head + word[at:e] in known), at)
                found += [known[head + word[at:end]]] if end > at else []
                at = max(end, at + 1)
        return found


def plain_words(text: str) -> list[str]:
    """Lower-case words and numbers; everything else parts them."""
    return re.findall(r"[^\W_]+", text.lower().replace("’", "").replace("'", ""))


class Layer(nn.Module):
    """Attention to what is before, then two linear layers; normalised first."""

    def __init__(self, drop: float):
        super().__init__()
        self.one, self.two = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = self.qkv(self.one(x)).view(rows, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.out(seen.transpose(1, 2).reshape(rows, length, WIDTH)))
        return x + self.drop(self.down(F.gelu(self.up(self.two(x)))))


class Decoder(nn.Module):
    def __init__(self, vocabulary: int, drop: float = 0.0):
        super().__init__()
        self.picture = nn.Sequential(nn.LayerNorm(FEATURES), nn.Dropout(drop), nn.Linear(FEATURES, PREFIX * WIDTH))
        self.words, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(PREFIX + LONGEST + 1, WIDTH)
        self.layers, self.last, self.drop = (
            nn.ModuleList(Layer(drop) for _ in range(LAYERS)),
            nn.LayerNorm(WIDTH),
            nn.Dropout(drop),
        )
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)

    def prefix(self, features: Tensor) -> Tensor:
        """(n, 1280) pooled features of pictures -> (n, PREFIX, WIDTH)."""
        return self.picture(features).view(-1, PREFIX, WIDTH)

    def forward(self, tokens: Tensor, prefix: Tensor) -> Tensor:
        """(n, length) tokens that begin with START -> logits of what follows each, (n, length, vocabulary)."""
        x = torch.cat([prefix, self.words(tokens[:, -LONGEST:])], 1)
        x = self.drop(x + self.places.weight[: x.shape[1]])
        for layer in self.layers:
            x = layer(x)
        return self.last(x[:, PREFIX:]) @ self.words.weight.T


def load(path: str) -> tuple[Decoder, Words]:
    """The decoder and its vocabulary (in the file's metadata), ready to write."""
    with safe_open(path, "pt") as f:
        words: list[str] = json.loads(f.metadata()["words"])
        weights: dict[str, Any] = {name: f.get_tensor(name).float() for name in f.keys()}
    decoder = Decoder(len(words))
    decoder.load_state_dict(weights)
    return decoder.eval(), Words(words)
