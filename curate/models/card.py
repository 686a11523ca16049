"""Cosines of many vectors on a graphics card."""

from typing import Any

import numpy as np


def name() -> str | None:
    """What torch calls the card, None if it has none. Products are of whole float32 from here on: TF32 is off by some 1e-3."""
    import torch

    torch.set_float32_matmul_precision("highest")
    return "cuda" if torch.cuda.is_available() else None


def count() -> int:
    """The cards that torch can use."""
    import torch

    return torch.cuda.device_count()


def l2_normalize(vectors: np.ndarray, card: str) -> Any:
    """Vectors as float32 of unit length on the card (zeros stay zeros); they travel as they are, as float16 in half the bytes."""
    import torch

    there = torch.from_numpy(np.ascontiguousarray(vectors)).to(card).float()
    return there / torch.linalg.vector_norm(there, dim=1, keepdim=True).clamp_(min=1e-12)


def pairs(left: Any, right: Any, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a cosine of at least `least`: places in `left`, ascending, places in `right`, cosines. Of a block with itself
    (`right is left`) each pair once, the later row in `left`."""
    found = left @ right.T
    over = found >= least
    i, j = (over.tril_(-1) if right is left else over).nonzero(as_tuple=True)
    return i.cpu().numpy(), j.cpu().numpy(), found[i, j].cpu().numpy()
