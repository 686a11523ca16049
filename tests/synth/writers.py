"""Captioners without a model, for tests."""

from dataclasses import dataclass

import numpy as np

from curate.synth.captioners import Answer, BatchWriter, Decoding, PreparedImage, Request
from curate.synth.captioners.base import seen


@dataclass
class Parrot(BatchWriter):
    """Says its prompt, the picture's brightness and its seed; breaks on black pictures, cannot prepare red ones."""

    engine = "parrot"
    gpus = 0
    batch = 8
    model: str = "parrot"

    def load(self) -> None:
        self._calls = []

    def prepare(self, image: np.ndarray) -> PreparedImage:
        if image[0, 0, 0] == 255 and image[0, 0, 1] == 0:
            raise ValueError("red")
        return seen(image[::2, ::2])

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        self._calls.append(len(requests))
        if any(not p.data.any() for r in requests for p in r.pictures):
            raise RuntimeError("black")
        bright = [" ".join(f"{p.data.mean()}" for p in r.pictures) for r in requests]
        return [Answer(f"{r.text} {b} {r.seed % 1000}".strip(), "stop", 3, 5) for r, b in zip(requests, bright)]
