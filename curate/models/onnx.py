"""ONNX models, and text recognition by RapidOCR."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.errors import RecipeError
from curate.models.files import THREADS


@dataclass
class Onnx:
    """A loaded ONNX model with one input."""

    session: Any
    input: str

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        """All outputs for a batch."""
        return self.session.run(None, {self.input: batch})


def onnx(path: str) -> Onnx:
    """Load a model, onto the GPU if onnxruntime supports one, else onto the CPU with a fixed number of threads. RecipeError if it is none."""
    try:
        import onnxruntime
    except ImportError as e:
        raise RecipeError(f"{path}: ONNX models need the package onnxruntime: pip install 'curate-multimodal[web]'") from e

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.log_severity_level = 3  # errors only: it warns about every folded constant
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [p for p in wanted if p in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as e:  # onnxruntime's own kinds have no common class
        raise RecipeError(f"{path}: no ONNX model: {str(e).splitlines()[0]}") from e
    (given, *_) = session.get_inputs()
    return Onnx(session, given.name)


def text_reader(side: int) -> Callable[[np.ndarray], list[tuple[np.ndarray, str, float]]]:
    """RapidOCR, finding text on images with their longer side brought down to `side`: an RGB image -> for each line of text
    its polygon (float32 (4, 2), in pixels), what it says, and how sure that is (0 to 1)."""
    from rapidocr import RapidOCR

    reader = RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Global.text_score": 0.0,
            "Det.limit_type": "max",
            "Det.limit_side_len": side,
            "EngineConfig.onnxruntime.intra_op_num_threads": THREADS,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )

    def read(image: np.ndarray) -> list[tuple[np.ndarray, str, float]]:
        # It first brings a longer side to 2,000 pixels and rounds the other to steps of 32: with fewer than 17 it fails.
        longer = max(image.shape[:2])
        lacks = [max(0, -(-longer * 17 // 2000) - side) if longer > 2000 else 0 for side in image.shape[:2]]
        if any(lacks):
            image = np.pad(image, [(0, lacks[0]), (0, lacks[1]), (0, 0)])
        found = reader(np.ascontiguousarray(image[:, :, ::-1]), use_det=True, use_cls=False, use_rec=True)
        if getattr(found, "boxes", None) is None:
            return []
        return [
            (np.asarray(box, np.float32), text, float(score)) for box, text, score in zip(found.boxes, found.txts, found.scores)
        ]

    return read
