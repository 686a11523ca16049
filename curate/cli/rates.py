"""Throughput of image decoding and of a CLIP model on this machine, for `curate doctor --model`."""

import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.fetch.decoders import Decoders, DecodeTime
from curate.models import clip

#: Pictures that are decoded, and seconds for which the model is measured.
PICTURES, SECONDS = 256, 3.0


@dataclass(frozen=True)
class ModelRates:
    """Measured rates: pictures a second decoded and resized on `cores` cores, and embedded by the model; texts (16 words) a second."""

    decode: float
    forward: float
    texts: float
    cores: int
    device: str
    batch: int

    def words(self) -> str:
        """The rates as text, with the bottleneck and the cores that would keep the model busy."""
        enough = max(1, round(self.forward * self.cores / self.decode + 0.49))
        limit = (
            f"decoding is the limit: {enough} cores would keep the model busy"
            if self.decode < self.forward
            else f"the model is the limit: {enough} of the cores keep it busy"
        )
        return (
            f"{self.forward:,.0f} pictures/s and {self.texts:,.0f} texts/s on {self.device} in batches of {self.batch}; 640x480 JPEGs decoded "
            f"and resized {self.decode:,.0f}/s on {self.cores} core{'s' * (self.cores != 1)}; {limit}"
        )


def measure(model: str) -> ModelRates:
    """Load a CLIP model and measure its rates. RecipeError if there is no such model."""
    loaded, cores = clip(model), len(os.sched_getaffinity(0))
    files = pictures(32) * (PICTURES // 32)
    with Decoders(cores) as decoders:
        decoders.decode(files[: 8 * cores], (loaded.preprocess,), DecodeTime(60))  # starts their processes
        began = time.perf_counter()
        found = decoders.decode(files, (loaded.preprocess,), DecodeTime(60))
        decode = len(files) / (time.perf_counter() - began)
    batch = np.stack([loaded.prepare(found[i % len(found)][0]) for i in range(loaded.batch)])
    texts = [f"a photograph of a red house on the hill by the river in summer, number {i}" for i in range(loaded.batch)]
    forward, words = (
        _rate(work, loaded.batch) for work in (lambda: loaded.encode_images(batch), lambda: loaded.encode_texts(texts))
    )
    return ModelRates(decode, forward, words, cores, loaded.device, loaded.batch)


def pictures(count: int) -> list[bytes]:
    """Random JPEGs of 640x480 with detail at all scales, about 110 kB each."""
    from PIL import Image

    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        scales = [Image.fromarray(rng.integers(0, 256, (3 << k, 4 << k, 3), np.uint8)) for k in (1, 3, 5, 7)]
        whole = np.mean([np.asarray(s.resize((640, 480), Image.Resampling.BICUBIC), np.float32) for s in scales], axis=0)
        out = io.BytesIO()
        Image.fromarray(whole.astype(np.uint8)).save(out, "JPEG", quality=90)
        found.append(out.getvalue())
    return found


def _rate(work: Callable[[], object], count: int) -> float:
    work()
    rounds, began = 0, time.perf_counter()
    while rounds == 0 or time.perf_counter() - began < SECONDS:
        work()
        rounds += 1
    return rounds * count / (time.perf_counter() - began)
