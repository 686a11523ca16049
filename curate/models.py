"""Models: found, named by their weights, and loaded. The only place that imports torch and open_clip.

A CLIP model is named `MODEL[:PRETRAINED]`: an open_clip architecture with a pretrained tag or a file of weights
(`ViT-B-32:laion2b_s34b_b79k`, `ViT-B-32:/models/mine.safetensors`), a folder in open_clip's own format (`local-dir:/models/mine`, or
just the folder), a hub model (`hf-hub:org/name`), or `small`: the small one for machines without a hub.
"""

import difflib
import functools
import glob
import hashlib
import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import RecipeError

#: Threads of torch on a CPU; fixed, because the order of a sum depends on it.
THREADS = 2
#: Images or texts in one forward pass.
BATCH = 64

_torchvision_library: list[Any] = []


def ensure_torchvision() -> bool:
    """Make torchvision importable beside a torch without CUDA; True if its own operators are there.

    torchvision's wheels may be built for CUDA only. Beside a CPU build of torch they fail at import for want of two
    operators, which we never call: declaring them is enough.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or _torchvision_library:
        return False
    import torch

    for library in glob.glob(os.path.join(spec.submodule_search_locations[0], "_C*.*")):
        try:
            torch.ops.load_library(library)
            return True
        except OSError:
            continue
    declared = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _torchvision_library.append(declared)  # it lives as long as the process
    return False


@dataclass
class Clip:
    """A CLIP model ready to embed. `dim` is the length of its embeddings."""

    name: str
    model: Any
    prepare: Callable[[Any], Any]
    tokenize: Callable[[list[str]], Any]
    device: str
    dim: int
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2)))

    def encode_images(self, images: list[np.ndarray]) -> np.ndarray:
        """uint8 arrays (height, width, 3), RGB -> float32 (n, dim), of length 1. The next batch is prepared while one is at work."""
        batches = [images[i:i + BATCH] for i in range(0, len(images), BATCH)]
        ahead = [list(map(self._submit, batches[0]))] if batches else []
        found = []
        for i in range(len(batches)):
            if i + 1 < len(batches):
                ahead.append(list(map(self._submit, batches[i + 1])))
            found.append(self._forward(self.model.encode_image, [f.result() for f in ahead[i]]))
            ahead[i] = None
        return np.concatenate(found) if found else np.zeros((0, self.dim), np.float32)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Texts -> float32 (n, dim), of length 1."""
        import torch

        found = [self._forward(self.model.encode_text, torch.unbind(self.tokenize(texts[i:i + BATCH]))) for i in range(0, len(texts), BATCH)]
        return np.concatenate(found) if found else np.zeros((0, self.dim), np.float32)

    def _submit(self, image: np.ndarray) -> Any:
        from PIL import Image

        return self.pool.submit(lambda: self.prepare(Image.fromarray(image)))

    def _forward(self, encode: Callable, batch: Any) -> np.ndarray:
        import torch

        with torch.inference_mode(), torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.device == "cuda"):
            features = encode(torch.stack(list(batch)).to(self.device))
        return torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()


@functools.lru_cache(maxsize=2)
def clip(name: str) -> Clip:
    """Load a CLIP model onto the GPU if there is one, else onto the CPU. RecipeError if there is no such model."""
    import torch

    ensure_torchvision()
    import open_clip

    architecture, pretrained = located(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(THREADS)
    try:
        model, _, prepare = open_clip.create_model_and_transforms(architecture, pretrained=pretrained, device=device)
        tokenize = open_clip.get_tokenizer(architecture)
    except Exception as e:
        raise RecipeError(f"model {name}: {_reason(e)}") from e
    model.eval()
    with torch.inference_mode():
        dim = int(model.encode_text(tokenize(["a"]).to(device)).shape[-1])
    return Clip(name, model, prepare, tokenize, device, dim)


def _reason(e: Exception) -> str:
    lines = [line for line in str(e).splitlines() if line.strip()] or [type(e).__name__]
    return lines[0][:300]


def located(name: str) -> tuple[str, str | None]:
    """What open_clip is asked for: an architecture, and a tag, a file or None. RecipeError names the nearest model or tag."""
    if name == "small":
        from curate.demo.small_clip import small_clip

        return small_clip(say=lambda line: None)[0], None
    if name.startswith(("local-dir:", "hf-hub:")):
        return name, None
    if os.path.isdir(name):
        return f"local-dir:{os.path.abspath(name)}", None
    architecture, _, pretrained = name.partition(":")
    ensure_torchvision()
    import open_clip

    known = open_clip.list_models()
    if architecture not in known:
        raise RecipeError(f"model {name}: open_clip has no {architecture}" + _near(architecture, known))
    if not pretrained:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise RecipeError(f"model {name}: say which weights, {architecture}:TAG or {architecture}:FILE" + (f"; tags: {', '.join(tags)}" if tags else ""))
    if os.path.exists(pretrained):
        return architecture, pretrained
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained not in tags:
        raise RecipeError(f"model {name}: {pretrained} is neither a file nor a tag of {architecture}" + _near(pretrained, tags))
    return architecture, pretrained


def _near(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word, words, 3)
    return f"; did you mean {', '.join(near)}?" if near else f"; there are: {', '.join(words[:12])}" if words else ""


@functools.lru_cache(maxsize=64)
def weights_id(name: str) -> str:
    """What the weights of a model are: `sha256:…` of local files, or the tag or hub name where they are not here."""
    if name.startswith("hf-hub:"):
        return name
    architecture, pretrained = located(name)
    if architecture.startswith("local-dir:"):
        folder = Path(architecture.removeprefix("local-dir:"))
        files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pt") or p.name == "open_clip_config.json")
        # The config names folders of this machine; the weights say what the model is.
        return "sha256:" + hashlib.sha256("".join(file_sha256(str(p)) for p in files if p.suffix != ".json").encode()).hexdigest()
    return f"sha256:{file_sha256(pretrained)}" if os.path.exists(pretrained) else f"{architecture}:{pretrained}"


def file_sha256(path: str) -> str:
    """SHA-256 of a file, in hex; remembered for as long as the file stays as it is."""
    stat = os.stat(path)
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _file_sha256(path: str, size: int, mtime: int) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
