"""Heads: a few linear layers on top of embeddings, as published for aesthetics, watermarks and safety."""

import re
from dataclasses import dataclass

import numpy as np

from curate.errors import RecipeError
from curate.models.files import weights_file


@dataclass(frozen=True)
class Head:
    """A head with one output: linear layers (weight, bias) from embeddings (n, dim) to n scores."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def dim(self) -> int:
        return self.layers[0][0].shape[1]

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Scores of embeddings: float32 (n, dim) -> float32 (n,)."""
        x = np.asarray(embeddings, np.float32)
        for weight, bias in self.layers:
            x = x @ weight.T + bias
        return x[:, 0]


def head(who: str, path: str) -> Head:
    """Read a head from `.safetensors`, or from torch's format without executing pickled code. RecipeError for other files.

    Layers are the matrices `*.weight`, in the order of the numbers in their names, each with its `*.bias`; dropout has no
    tensors. There is no activation between the layers, as in LAION's improved aesthetic predictor.
    """
    tensors = _tensors(who, path)
    names = sorted((n for n in tensors if n.split(".")[-1] == "weight"), key=lambda n: [int(d) for d in re.findall(r"\d+", n)])
    layers = []
    for name in names:
        weight, bias = tensors.pop(name), tensors.pop(name.removesuffix("weight") + "bias", None)
        if weight.ndim != 2 or (layers and weight.shape[1] != layers[-1][0].shape[0]):
            raise RecipeError(f"{who}: {path}: {name} of shape {weight.shape} is not the next linear layer")
        layers.append((weight, np.zeros(len(weight), np.float32) if bias is None else bias))
    if not layers or len(layers[-1][0]) != 1 or tensors:
        raise RecipeError(
            f"{who}: {path}: not a head of linear layers with one output"
            + (f" (what is {', '.join(sorted(tensors)[:3])}?)" if tensors else "")
        )
    return Head(tuple(layers))


def _tensors(who: str, path: str) -> dict[str, np.ndarray]:
    file = weights_file(who, path)
    try:
        if file.suffix == ".safetensors":
            from safetensors.numpy import load_file

            found = load_file(file)
        else:
            import torch

            found = {k: v.numpy() for k, v in torch.load(file, map_location="cpu", weights_only=True).items()}
    except Exception as e:
        raise RecipeError(f"{who}: {file}: {str(e).splitlines()[0] if str(e) else type(e).__name__}") from e
    return {k: np.asarray(v, np.float32) for k, v in found.items()}
