"""Captioners without a model, for tests."""

from dataclasses import dataclass

import numpy as np

from curate.synth.captioners import Answer, Decoding, Request, Seen, Writer
from curate.synth.captioners.base import seen


@dataclass
class Parrot(Writer):
    """Says its prompt, the picture's brightness and its seed; breaks on black pictures, cannot prepare red ones."""

    engine = "parrot"
    gpus = 0
    batch = 8
    model: str = "parrot"

    def load(self) -> None:
        self._calls = []

    def prepare(self, image: np.ndarray) -> Seen:
        if image[0, 0, 0] == 255 and image[0, 0, 1] == 0:
            raise ValueError("red")
        return seen(image[::2, ::2])

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        self._calls.append(len(requests))
        if any(r.seen is not None and not r.seen.data.any() for r in requests):
            raise RuntimeError("black")
        return [
            Answer(f"{r.prompt} {r.seen.data.mean() if r.seen else ''} {r.seed % 1000}".strip(), "stop", 3, 5) for r in requests
        ]
