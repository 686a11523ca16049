"""Products of many vectors on a graphics card, by torch."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: What a machine with a card has: NVIDIA's driver, Windows' for Linux, AMD's.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")

#: Cosines of float16 vectors by the products of `pairs` are right within this, also where a card adds them up in TF32.
MARGIN = 1e-4


def name() -> str | None:
    """What torch calls the card, None if there is none."""
    if not any(map(os.path.exists, _DRIVERS)):
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def count() -> int:
    """The cards that torch can use."""
    import torch

    return torch.cuda.device_count()


@dataclass(frozen=True)
class Block:
    """Vectors on a card, as they are, and one over their lengths (0 of zeros)."""

    vectors: Any
    scale: Any


def block(vectors: np.ndarray, card: str) -> Block:
    """Float16 vectors as a block: they travel as they are, in half the bytes."""
    import torch

    there = torch.tensor(vectors).to(card).float()
    length = torch.linalg.vector_norm(there, dim=1)
    return Block(there, torch.where(length > 0, 1 / length, 0))


def pairs(left: Block, right: Block, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a cosine of at least `least`, within MARGIN: places in `left`, ascending, places in `right`, cosines. Of a block with
    itself (`right is left`) each pair once, the later row in `left`.

    Most rows have no such pair: only those whose largest cosine is high enough are looked at again, and only pairs leave the card.
    """
    found = product(left.vectors, right.vectors) * left.scale[:, None] * right.scale
    if right is left:
        found = found.tril_(-1)
    rows = (found.amax(dim=1) >= least).nonzero()[:, 0]
    few = found[rows]
    over = few >= least
    if right is left:
        over &= rows[:, None] > _places(few)
    i, j = over.nonzero(as_tuple=True)
    return rows[i].cpu().numpy(), j.cpu().numpy(), few[i, j].cpu().numpy()


def _places(few: Any) -> Any:
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
