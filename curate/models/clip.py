"""CLIP models through open_clip: loading and inference. Names are those of curate.models.clip_names."""

import functools
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curate.errors import RecipeError
from curate.models.clip_names import built, located, reason
from curate.models.files import THREADS
from curate.preprocess import Preprocess

log = logging.getLogger(__name__)

#: Batch size on a CPU, and those tried on a GPU.
BATCH, BATCHES = 64, (256, 512, 1024)
#: Texts to test whether a text tower ignores padding.
PROBE_TEXTS = ("a photograph of a red house on the hill", "dogs")


def preprocess_of(model: Any) -> Preprocess | None:
    """A model's preprocessing, or None if Preprocess does not support it and open_clip's transform is used."""
    import open_clip

    settings = open_clip.get_model_preprocess_cfg(model)
    size = settings["size"]
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    plain = sides[0] == sides[1] and settings["resize_mode"] in ("shortest", "squash")
    if not plain or settings["interpolation"] not in ("bicubic", "bilinear"):
        return None
    return Preprocess(sides[0], settings["resize_mode"], settings["interpolation"] == "bilinear")


@dataclass
class Clip:
    """A CLIP model ready to embed. `dim` is the length of its embeddings, `batch` the images or texts in one forward pass."""

    name: str
    model: Any
    image_tower: Callable[[Any], Any]
    text_tower: Callable[[Any], Any]
    preprocess: Preprocess | None
    transform: Any  # open_clip's, for what `preprocess` does not know
    mean: Any  # tensors of three numbers, for pixels from 0 to 255
    std: Any
    tokenize: Any  # open_clip's tokenizer: called with texts, it gives a tensor; some have marks and `decode`
    device: str
    dim: int
    precision: str = "float32"
    batch: int = BATCH
    trims: bool = False  # whether padding behind a text changes nothing
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2)))

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """uint8 arrays (height, width, 3), RGB, or one of prepared pictures (n, size, size, 3) -> float32 (n, dim), of length 1."""
        return self.begin_images(images)()

    def begin_images(self, images: Sequence[np.ndarray]) -> Callable[[], np.ndarray]:
        """Start encode_images; the returned function waits for its result. On a GPU the model computes meanwhile."""
        inputs = (self._input(images[i : i + self.batch]) for i in range(0, len(images), self.batch))
        pending = [self._forward(self.image_tower, each) for each in inputs]
        return lambda: self._collect(pending)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Texts -> float32 (n, dim), of length 1. Each batch is as long as its longest text."""
        pending = []
        for i in range(0, len(texts), self.batch):
            tokens = self.tokenize(texts[i : i + self.batch])
            tokens = trim_padding(tokens) if self.trims else tokens
            pending.append(self._forward(self.text_tower, tokens.to(self.device)))
        return self._collect(pending)

    def _collect(self, pending: list[Any]) -> np.ndarray:
        return np.concatenate([np.zeros((0, self.dim), np.float32), *(b.cpu().numpy() for b in pending)])

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8 (height, width, 3) -> uint8 (size, size, 3), as the model sees it."""
        if self.preprocess:
            return self.preprocess(image)
        from PIL import Image

        return np.asarray(functools.reduce(lambda p, step: step(p), self.transform.transforms[:-2], Image.fromarray(image)))

    def normalize(self, pictures: np.ndarray) -> Any:
        """Prepared pictures, uint8 (n, size, size, 3), as the model's normalised input tensor, on its device."""
        import torch

        pixels = torch.from_numpy(pictures)
        if self.device == "cuda":  # pinned memory: the copy overlaps with the previous batch
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        pixels = pixels.permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std)
        return pixels.to(getattr(torch, self.precision))

    def _input(self, pictures: Sequence[np.ndarray]) -> Any:
        prepared = isinstance(pictures, np.ndarray)
        return self.normalize(pictures if prepared else np.stack(list(self.pool.map(self.prepare, pictures))))

    def _forward(self, encode: Callable, batch: Any) -> Any:
        """Features of length 1, a float32 tensor on the model's device; on a GPU it may still be being computed."""
        import torch

        with torch.inference_mode():
            return torch.nn.functional.normalize(encode(batch).float(), dim=-1)


def trim_padding(tokens: Any) -> Any:
    """Tokens (n, context) without the trailing columns that are padding in every text, rounded up to a multiple of 8."""
    padding = tokens[0, -1]
    used = (tokens != padding).any(0).nonzero()
    length = int(used[-1]) + 1 if len(used) else 1
    return tokens[:, : min(tokens.shape[1], -(-length // 8) * 8)]


@functools.lru_cache(maxsize=2)
def clip(name: str, precision: str = "") -> Clip:
    """Load a CLIP model onto the GPU if there is one, else onto the CPU. precision: of weights and products, `float32` or `bfloat16`; by
    default bfloat16 on a GPU. RecipeError if there is no such model."""
    import torch

    found = located(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = precision or ("bfloat16" if device == "cuda" else "float32")
    if device == "cpu":
        torch.set_num_threads(THREADS)
    model, transform = built(name, found, device)
    activations = sorted({type(m).__name__ for m in model.modules()} & {"GELU", "QuickGELU"})
    log.info(
        "model %s: %s on %s, activation %s", name, type(model).__name__, device, " and ".join(activations) or "of its towers"
    )
    import open_clip

    try:
        tokenize = open_clip.get_tokenizer(found.architecture)
    except Exception as e:
        raise RecipeError(f"model {name}: its tokenizer: {reason(e)}") from e
    settings = open_clip.get_model_preprocess_cfg(model)
    mean, std = (torch.tensor(settings[k], device=device).view(1, 3, 1, 1) * 255 for k in ("mean", "std"))
    text_tower, dim, trims = text_tower_of(model, tokenize(list(PROBE_TEXTS)).to(device))
    preprocess = preprocess_of(model)
    tower = model.to(getattr(torch, precision)).encode_image
    if device == "cpu" and precision == "float32" and preprocess:
        tower = traced_tower(model, preprocess.size)
    batch = best_batch(tower, preprocess.size, model) if device == "cuda" and preprocess else BATCH
    return Clip(
        name, model, tower, text_tower, preprocess, transform, mean, std, tokenize, device, dim, precision, batch, trims
    )


def text_tower_of(model: Any, probe: Any) -> tuple[Callable[[Any], Any], int, bool]:
    """The text tower, the length of its embeddings, and whether their values do not depend on trailing padding: causal towers and those
    with a mask do not, those that read the last position (SigLIP's) do. probe: tokens (n, context) of short texts."""
    import torch

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Any) -> Any:
            return self.model.encode_text(tokens)

    tower, context = Tower(), probe.shape[1]
    sized_by_context = {
        n: t for n, t in [*tower.named_parameters(), *tower.named_buffers()] if "visual" not in n and t.shape[:1] == (context,)
    }
    positional = {n: t for n, t in sized_by_context.items() if n.endswith(("positional_embedding", "attn_mask"))}

    def encode(tokens: Any) -> Any:
        """Encode tokens with position embeddings and masks cut to their length."""
        n = tokens.shape[1]
        if n == context:
            return model.encode_text(tokens)
        cut = {k: tower.get_parameter(k) if k.endswith("embedding") else tower.get_buffer(k) for k in positional}
        return torch.func.functional_call(
            tower, {k: t[:n, :n] if k.endswith("mask") else t[:n] for k, t in cut.items()}, (tokens,)
        )

    with torch.inference_mode():
        whole = model.encode_text(probe).float()
        try:
            same = torch.allclose(encode(trim_padding(probe)).float(), whole, atol=1e-3 * float(whole.abs().max()))
        except (RuntimeError, ValueError) as e:
            log.debug("%s takes whole contexts only: %s", type(model).__name__, e)
            same = False
    return encode, int(whole.shape[-1]), same


def best_batch(tower: Callable[[Any], Any], size: int, model: Any) -> int:
    """The smallest batch that is within 3 % of the fastest of BATCHES on this card."""
    import torch

    rates: dict[int, float] = {}
    for batch in BATCHES:
        try:
            pixels = torch.zeros((batch, 3, size, size), device="cuda", dtype=next(model.parameters()).dtype)
            with torch.inference_mode():
                tower(pixels).cpu()  # warm-up: chooses kernels
                began = time.perf_counter()
                tower(pixels).cpu()
            rates[batch] = batch / (time.perf_counter() - began)
        except torch.OutOfMemoryError:
            break
    return next((b for b, rate in rates.items() if rate >= 0.97 * max(rates.values())), BATCH)


def traced_tower(model: Any, size: int) -> Callable[[Any], Any]:
    """Optimize an image tower for a CPU: channels last, traced, batch normalisations folded into convolutions.

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

    generator = torch.Generator().manual_seed(0)
    two, three = (torch.rand((n, size, size, 3), generator=generator).permute(0, 3, 1, 2) for n in (2, 3))
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
