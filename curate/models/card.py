"""Products of many vectors on a GPU, by torch: pairs above a cosine, and nearest centroids."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Device files of GPU drivers: NVIDIA's, Windows' for Linux, AMD's.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")

#: Largest error of the cosines of float16 vectors by `pairs`, also in TF32.
MARGIN = 1e-4


def name() -> str | None:
    """torch's name of the GPU device, or None without one."""
    if not any(map(os.path.exists, _DRIVERS)):
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def count() -> int:
    """The number of GPUs that torch can use."""
    import torch

    return torch.cuda.device_count()


@dataclass(frozen=True)
class Block:
    """Vectors on a GPU, not normalised, and the reciprocals of their lengths (0 for zero vectors)."""

    vectors: Any
    scale: Any


def block(vectors: np.ndarray, card: str) -> Block:
    """Copy float16 vectors to the GPU as a block; as float16, which halves the transfer."""
    import torch

    there = torch.tensor(vectors).to(card).float()
    length = torch.linalg.vector_norm(there, dim=1)
    return Block(there, torch.where(length > 0, 1 / length, 0))


def pairs(left: Block, right: Block, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of rows with a cosine of at least `least`, within MARGIN: rows of `left`, ascending, rows of `right`, cosines. Of a block with
    itself (`right is left`) each pair once, the later row in `left`.

    Most rows have no such pair: only those whose largest cosine suffices are searched, and only pairs are copied from the GPU.
    """
    found = product(left.vectors, right.vectors) * left.scale[:, None] * right.scale
    if right is left:
        found = found.tril_(-1)
    rows = (found.amax(dim=1) >= least).nonzero()[:, 0]
    few = found[rows]
    over = few >= least
    if right is left:
        over &= rows[:, None] > _columns(few)
    i, j = over.nonzero(as_tuple=True)
    return rows[i].cpu().numpy(), j.cpu().numpy(), few[i, j].cpu().numpy()


def _columns(few: Any) -> Any:
    import torch

    return torch.arange(few.shape[1], device=few.device)


def product(left: Any, right: Any) -> Any:
    """left @ right.T in TF32 where the card has it: float16 values are exact in it, and their products are added up in float32."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return left @ right.T
    finally:
        torch.set_float32_matmul_precision(before)


def searcher(
    centroids: np.ndarray, offset: np.ndarray, wide: int, card: str
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A function from unit points to their `wide` largest products with centroids, plus these centroids' offset, and their numbers: in
    whole float32, as centroids have more digits than TF32 keeps."""
    import torch

    known, more = (torch.tensor(v, dtype=torch.float32).to(card) for v in (centroids, offset))

    def search(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            found = torch.addmm(more, torch.from_numpy(points).to(card), known.T).topk(wide, dim=1)
        finally:
            torch.set_float32_matmul_precision(before)
        return found.values.cpu().numpy(), found.indices.cpu().numpy()

    return search
