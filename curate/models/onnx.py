"""Models in ONNX files."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.models.files import THREADS


@dataclass
class Onnx:
    """A loaded ONNX model with one input. `shape` is the input's, with None where it is free."""

    session: Any
    input: str
    shape: tuple[int | None, ...]

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        """All outputs for a batch."""
        return self.session.run(None, {self.input: batch})


def onnx(path: str) -> Onnx:
    """Load a model, onto the GPU if onnxruntime has one; on a CPU with a fixed number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.log_severity_level = 3  # errors only: it warns about every folded constant
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [p for p in wanted if p in onnxruntime.get_available_providers()]
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    (given, *_) = session.get_inputs()
    return Onnx(session, given.name, tuple(s if isinstance(s, int) else None for s in given.shape))
