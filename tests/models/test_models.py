"""Models are found by name, known by their weights, and prepare pictures as open_clip does."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from laws import pixels
from tiny import tiny_clip

from curate import models
from curate.errors import RecipeError
from curate.models.clip import text_tower_of
from curate.preprocess import Preprocess


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def clip(tiny):
    return models.clip(tiny)


def test_embeddings(clip):
    images = pixels(70, seed=1)
    found = clip.encode_images(images)
    assert found.shape == (70, 32) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found[66:], clip.encode_images(images[66:]), atol=1e-4)
    assert clip.encode_images([]).shape == clip.encode_texts([]).shape == (0, 32)
    assert clip.encode_texts(["a dog", ""]).shape == (2, 32)


def test_prepared_pictures_and_whole_ones_have_the_same_embeddings(clip):
    images = pixels(70, seed=2)
    prepared = np.stack([clip.prepare(image) for image in images])
    np.testing.assert_array_equal(clip.encode_images(images), clip.encode_images(prepared))


LONG = " ".join(["a photograph of a dog on the hill"] * 3)


def test_texts_are_as_long_as_the_longest_of_their_batch(clip):
    """What is cut off is padding: the embeddings stay what whole contexts give."""
    seen, texts = [], ["a dog", "", LONG]
    whole = clip.model.encode_text(clip.tokenize(texts)).detach().float().numpy()
    short = dataclasses.replace(clip, text_tower=lambda tokens: seen.append(tokens.shape[1]) or clip.text_tower(tokens))
    found = [short.encode_texts(texts), np.concatenate([short.encode_texts([t]) for t in texts])]
    for each in found:
        np.testing.assert_allclose(each, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-3)
    context = clip.tokenize(["a"]).shape[1]
    assert clip.trims and seen[0] == seen[3] and seen[1] == seen[2] == 8 and 8 < seen[0] <= context


@pytest.mark.parametrize(
    "how, trims",
    [
        ({}, True),
        ({"no_causal_mask": True, "use_pad_mask": True, "pool_type": "eos", "eos_id": 399}, True),
        ({"no_causal_mask": True, "pool_type": "last"}, False),  # as SigLIP's, which reads the last place
        ({"embed_cls": True}, False),  # as CoCa's, with a token of its own at the end
    ],
)
def test_a_tower_that_reads_its_padding_gets_it(how, trims):
    models.ensure_torchvision()
    import torch
    from open_clip.transformer import TextTransformer

    torch.manual_seed(0)
    model = torch.nn.Module()
    model.text = TextTransformer(context_length=24, vocab_size=400, width=64, heads=2, layers=2, **how).eval()
    torch.nn.init.normal_(model.text.positional_embedding)
    model.encode_text = model.text.forward
    probe = torch.zeros((2, 24), dtype=torch.int64)
    probe[0, :9], probe[1, :4] = torch.arange(391, 400), torch.arange(396, 400)
    tower, dim, same = text_tower_of(model, probe)
    assert (dim, same) == (512, trims) and torch.equal(tower(probe), model.encode_text(probe))


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (32, 32), (1, 40), (30, 31), (7, 200)])
def test_pictures_are_prepared_as_open_clip_does(mode, shape):
    models.ensure_torchvision()
    from open_clip.transform import image_transform
    from PIL import Image

    theirs = image_transform(32, is_train=False, resize_mode=mode, mean=(0, 0, 0), std=(1, 1, 1))
    image, ours = np.random.default_rng(0).integers(256, size=(*shape, 3)).astype(np.uint8), Preprocess(32, mode)
    expected = theirs(Image.fromarray(image)).numpy().transpose(1, 2, 0) * 255
    assert np.abs(ours(image).astype(float) - expected).max() <= 2.01  # grey levels of 255
    assert np.abs(ours(image).astype(float) - expected).mean() < 0.1


def test_normalised_as_open_clip_does(clip, tiny):
    import open_clip
    from PIL import Image

    _, _, theirs = open_clip.create_model_and_transforms(f"local-dir:{tiny}")
    image = np.random.default_rng(0).integers(256, size=(50, 80, 3)).astype(np.uint8)
    ours = clip.normalize(np.stack([clip.prepare(image)]))[0]
    np.testing.assert_allclose(ours.numpy(), theirs(Image.fromarray(image)).numpy(), atol=0.04)  # a grey level is 0.015


@pytest.mark.parametrize(
    "name, says",
    [
        ("ViT-B-33", "did you mean ViT-B-32"),
        ("ViT-B-32", "say which weights"),
        ("ViT-B-32:laion2b_s34b_b79", "did you mean laion2b_s34b_b79k"),
        ("ViT-B-32:/nowhere/at.safetensors", "neither a file nor a tag"),
    ],
)
def test_a_wrong_name_says_what_is_near(name, says):
    with pytest.raises(RecipeError, match=says):
        models.weights_id(name)


def test_weights_are_known_by_their_bytes(tiny, tmp_path):
    assert (
        models.weights_id(tiny)
        == models.weights_id(f"local-dir:{tiny}")
        != models.weights_id(tiny_clip(tmp_path / "b", seed=5))
    )
    moved = tiny_clip(tmp_path / "c")
    assert models.weights_id(moved) == models.weights_id(tiny)
    config = json.loads(Path(moved, "open_clip_config.json").read_text())
    config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    other = Path(tiny_clip(tmp_path / "d"))
    (other / "open_clip_config.json").write_text(json.dumps(config))
    assert models.weights_id(str(other)) != models.weights_id(tiny)


def test_the_hash_follows_the_file(tmp_path):
    file = tmp_path / "w.bin"
    file.write_bytes(b"one")
    first = models.file_sha256(str(file))
    file.write_bytes(b"other")
    assert models.file_sha256(str(file)) != first


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_checkpoint_cannot_run_code(tmp_path):
    bomb = tmp_path / "bomb.pt"
    bomb.write_bytes(pickle.dumps(Bomb(str(tmp_path / "it ran"))))
    with pytest.raises(RecipeError, match=r"bomb\.pt"):
        models.clip(f"ViT-S-32-alt:{bomb}")
    assert not (tmp_path / "it ran").exists()
