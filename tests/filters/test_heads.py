"""Heads on embeddings: aesthetics and watermarks."""

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from curate.errors import RecipeError
from curate.filters.aesthetic import Aesthetic
from curate.filters.watermark import Watermark


def embeddings(*rows):
    return pa.array([None if r is None else np.asarray(r, np.float16) for r in rows], pa.list_(pa.float16()))


@pytest.fixture
def linear(tmp_path):
    save_file({"weight": np.float32([[2, -1]]), "bias": np.float32([5])}, tmp_path / "head.safetensors")
    return str(tmp_path / "head.safetensors")


def scored(filter, column):
    filter.load()
    table = filter.run(pa.table({filter.column: column}))
    return table[filter.name].to_pylist(), filter.judge(table).to_pylist()


def test_aesthetic_is_what_the_head_says(linear):
    assert scored(Aesthetic(head=linear), embeddings([1, 0], [0, 1], None)) == (
        [7.0, 4.0, None],
        [None, "aesthetic", "aesthetic"],
    )


def test_laions_improved_head_is_read_as_published(tmp_path):
    """sac+logos+ava1-l14-linearMSE.pth: linear layers 0, 2, 4, 6, 7 with dropout between them and nothing else."""
    import torch

    sizes = {0: (768, 1024), 2: (1024, 128), 4: (128, 64), 6: (64, 16), 7: (16, 1)}
    torch.manual_seed(0)
    state = {
        f"layers.{i}.{k}": torch.randn(*((b, a) if k == "weight" else (b,))) / a**0.5
        for i, (a, b) in sizes.items()
        for k in ("weight", "bias")
    }
    torch.save(state, tmp_path / "improved.pth")
    x = torch.nn.functional.normalize(torch.randn(3, 768), dim=-1).half()
    y = x.float()
    for i in sizes:
        y = y @ state[f"layers.{i}.weight"].T + state[f"layers.{i}.bias"]
    scores, _ = scored(Aesthetic(head=str(tmp_path / "improved.pth"), column="clip_l14_image"), embeddings(*x.numpy()))
    np.testing.assert_allclose(scores, y[:, 0], rtol=1e-3, atol=1e-3)


def test_watermark_is_a_probability(linear):
    scores, reasons = scored(Watermark(head=linear, column="x"), embeddings([-2, 1], [-4, 0]))
    np.testing.assert_allclose(scores, [0.5, 1 / (1 + np.exp(3))], rtol=1e-3)
    assert reasons == [None, None] and scored(Watermark(head=linear), embeddings([0, 0]))[1] == ["watermark"]


def test_a_head_for_another_model_is_refused(linear):
    with pytest.raises(RecipeError, match="for embeddings of length 2, clip_image has 3"):
        scored(Aesthetic(head=linear), embeddings([1, 0, 0]))


@pytest.mark.parametrize(
    "tensors", [{"weight": (2, 3)}, {"a.0.weight": (4, 3), "a.1.weight": (1, 5)}, {"weight": (1, 3), "running_mean": (3,)}, {}]
)
def test_what_is_no_head(tensors, tmp_path):
    save_file({k: np.zeros(s, np.float32) for k, s in tensors.items()}, tmp_path / "odd.safetensors")
    with pytest.raises(RecipeError, match=r"aesthetic: .*odd.safetensors"):
        Aesthetic(head=str(tmp_path / "odd.safetensors")).load()


def test_there_is_no_default():
    with pytest.raises(RecipeError, match="watermark: no weights; give a file"):
        Watermark().identity()
