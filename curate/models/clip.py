"""CLIP through open_clip: loaded and fed. Its names are those of curate.models.clip_names."""

import functools
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curate.errors import RecipeError
from curate.models.clip_names import built, located, reason
from curate.models.files import THREADS

log = logging.getLogger(__name__)

#: Images or texts in one forward pass.
BATCH = 64


@dataclass(frozen=True)
class Shrink:
    """A picture made as large as the model wants it: open_clip's own transform, up to one grey level, at a fraction of its
    cost.

    The shorter side becomes `size` and the middle is cut out ("shortest"), or both sides become `size` ("squash"). What
    will be cut away is not computed, and torch's threads do not meet the threads of the pool. Other modes are left to
    open_clip.
    """

    size: int
    resize_mode: str
    bilinear: bool
    other: tuple[Callable[[Any], Any], ...] = ()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 (height, width, 3) -> uint8 (size, size, 3)."""
        from PIL import Image

        picture = Image.fromarray(image)
        if self.other:
            return np.asarray(functools.reduce(lambda p, step: step(p), self.other, picture))
        method = Image.Resampling.BILINEAR if self.bilinear else Image.Resampling.BICUBIC
        return np.asarray(picture.resize((self.size, self.size), method, box=self.box(*picture.size)))

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The part of the picture that is seen."""
        if self.resize_mode == "squash":
            return 0, 0, width, height
        size = self.size
        wide, high = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
        left, top = round((wide - size) / 2), round((high - size) / 2)
        x, y = width / wide, height / high
        return left * x, top * y, (left + size) * x, (top + size) * y


def shrink_of(model: Any, transform: Any) -> Shrink:
    """From a model's settings, and open_clip's transform: resizing first, then to a tensor and normalised."""
    import open_clip

    settings = open_clip.get_model_preprocess_cfg(model)
    size = settings["size"]
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    plain = sides[0] == sides[1] and settings["resize_mode"] in ("shortest", "squash")
    plain = plain and settings["interpolation"] in ("bicubic", "bilinear")
    return Shrink(
        sides[0],
        settings["resize_mode"],
        settings["interpolation"] == "bilinear",
        () if plain else tuple(transform.transforms[:-2]),
    )


@dataclass
class Clip:
    """A CLIP model ready to embed. `dim` is the length of its embeddings."""

    name: str
    model: Any
    image_tower: Callable[[Any], Any]
    shrink: Shrink
    mean: Any  # tensors of three numbers, for pixels from 0 to 255
    std: Any
    tokenize: Callable[[list[str]], Any]
    device: str
    dim: int
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2)))

    def encode_images(self, images: list[np.ndarray]) -> np.ndarray:
        """uint8 arrays (height, width, 3), RGB -> float32 (n, dim), of length 1. The next batches are prepared while one is at
        work; on a GPU nobody waits for a batch before the next one is under way."""
        ahead = deque(self.pool.submit(self.shrink, image) for image in images[: 2 * BATCH])
        found, last = [np.zeros((0, self.dim), np.float32)], None
        for i in range(0, len(images), BATCH):
            ready = np.stack([ahead.popleft().result() for _ in images[i : i + BATCH]])
            ahead.extend(self.pool.submit(self.shrink, image) for image in images[i + 2 * BATCH : i + 3 * BATCH])
            begun = self._forward(self.image_tower, self._normal(ready))
            found += [] if last is None else [last.cpu().numpy()]
            last = begun
        return np.concatenate([*found, *([] if last is None else [last.cpu().numpy()])])

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Texts -> float32 (n, dim), of length 1."""
        batches = (texts[i : i + BATCH] for i in range(0, len(texts), BATCH))
        found = (self._forward(self.model.encode_text, self.tokenize(batch).to(self.device)) for batch in batches)
        return np.concatenate([np.zeros((0, self.dim), np.float32), *(f.cpu().numpy() for f in found)])

    def _normal(self, pictures: np.ndarray) -> Any:
        """uint8 (n, size, size, 3) -> what the model expects, normalised where the model is."""
        import torch

        pixels = torch.from_numpy(pictures)
        if self.device == "cuda":  # copied from locked memory while the batch before is at work
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        return pixels.permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std)

    def _forward(self, encode: Callable, batch: Any) -> Any:
        """Features of length 1, a tensor where the model is; on a GPU they may still be on their way."""
        import torch

        with torch.inference_mode(), torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.device == "cuda"):
            features = encode(batch)
        return torch.nn.functional.normalize(features.float(), dim=-1)


@functools.lru_cache(maxsize=2)
def clip(name: str) -> Clip:
    """Load a CLIP model onto the GPU if there is one, else onto the CPU. RecipeError if there is no such model."""
    import torch

    found = located(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(THREADS)
    model, prepare = built(name, found, device)
    activations = sorted({type(m).__name__ for m in model.modules()} & {"GELU", "QuickGELU"})
    log.info(
        "model %s: %s on %s, activation %s", name, type(model).__name__, device, " and ".join(activations) or "of its towers"
    )
    import open_clip

    try:
        tokenize = open_clip.get_tokenizer(found.architecture)
    except Exception as e:
        raise RecipeError(f"model {name}: its tokenizer: {reason(e)}") from e
    with torch.inference_mode():
        dim = int(model.encode_text(tokenize(["a"]).to(device)).shape[-1])
    settings = open_clip.get_model_preprocess_cfg(model)
    mean, std = (torch.tensor(settings[k], device=device).view(1, 3, 1, 1) * 255 for k in ("mean", "std"))
    shrink = shrink_of(model, prepare)
    tower = quickened(model, shrink.size) if device == "cpu" else model.encode_image
    return Clip(name, model, tower, shrink, mean, std, tokenize, device, dim)


def quickened(model: Any, size: int) -> Callable[[Any], Any]:
    """The image tower as a CPU likes it: channels last, traced, its normalisations folded into its convolutions.

    A convolutional tower gets two to five times as fast. Where tracing fails, or the outcome is not the same for another
    number of pictures, the tower stays as it is.
    """
    import torch

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixels):
            return self.model.encode_image(pixels)

    drawn = torch.Generator().manual_seed(0)
    two, three = (torch.rand((n, size, size, 3), generator=drawn).permute(0, 3, 1, 2) for n in (2, 3))
    model.visual.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = model.encode_image(three)
        try:
            traced = torch.jit.freeze(torch.jit.trace(Tower().eval(), two, check_trace=False))
            same = all(torch.allclose(traced(three), expected, atol=1e-3, rtol=1e-3) for _ in range(3))
        except (RuntimeError, TypeError, ValueError) as e:
            log.debug("%s stays untraced: %s", type(model).__name__, e)
            return model.encode_image
    return traced if same else model.encode_image
