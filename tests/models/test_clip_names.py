"""CLIP models are built as their authors ran them, for every tag that open_clip lists; weights that do not fit are refused."""

import functools
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import CONFIG, tiny_clip

from curate import models
from curate.errors import RecipeError
from curate.models import clip_names, clip_ready, hub, weights_id
from curate.models.clip_names import built, located

models.ensure_torchvision()
import open_clip  # noqa: E402
import torch  # noqa: E402

#: Of the text towers of transformers only the shape matters here; their configurations are on the hub.
HUB_TOWERS = {"roberta": "RobertaConfig", "xlm-roberta": "XLMRobertaConfig", "nllb": "M2M100Config"}


@pytest.fixture
def without_hub(monkeypatch):
    """open_clip without downloads; which tokenizer it would fetch, with what context length."""
    import transformers

    def config(name, **_):
        kind = next(kind for start, kind in HUB_TOWERS.items() if name.split("/")[-1].startswith(start))
        return getattr(transformers, kind)(num_hidden_layers=1, encoder_layers=1, decoder_layers=1)

    monkeypatch.setattr("open_clip.factory.get_model_config", lambda name, real=open_clip.get_model_config: shallow(real(name)))
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *a, **k: "downloaded")
    monkeypatch.setattr("open_clip.hf_model.AutoConfig.from_pretrained", config)
    monkeypatch.setattr("open_clip.timm_model.timm.create_model", lambda *a, **k: Trunk())
    for kind in ("HFTokenizer", "SigLipTokenizer"):
        monkeypatch.setattr(f"open_clip.factory.{kind}", functools.partial(Fetched, kind))


class Trunk(torch.nn.Module):
    """In place of timm's towers, which have activations of their own and are slow to build."""

    num_features, default_cfg = 8, {"pool_size": (7, 7)}

    def reset_classifier(self, *_, **__):
        pass


def shallow(config: dict) -> dict:
    """The same model with fewer layers: each layer has the same activation."""
    for tower in (config["vision_cfg"], config["text_cfg"]):
        if "layers" in tower:
            tower["layers"] = [1] * 4 if isinstance(tower["layers"], list) else 1
    return config


class Fetched:
    """A tokenizer that would come from the hub."""

    def __init__(self, kind: str, name: str, context_length: int, **_):
        self.kind, self.name, self.context_length = kind, name, context_length


def activations(model) -> set[str]:
    """The kinds of activations in the transformers and ResNets that open_clip itself builds; timm and transformers have their own."""
    found = set()
    for name, module in model.named_modules():
        if not name.startswith(("visual.trunk", "visual.head", "text.transformer.encoder", "text.proj")):
            found |= {type(module).__name__} & {"GELU", "QuickGELU"}
    return found


@functools.cache
def structure(architecture: str, quick: str) -> tuple[set[str], object, dict]:
    """Of tags with the same activation, one model: its activations, the size of its pictures, its preprocessing."""
    name = next(
        f"{a}:{t}" for a, t in open_clip.list_pretrained() if a == architecture and str(located(f"{a}:{t}").forced) == quick
    )
    model, _ = built(name, located(name), "meta", weights=False)
    return activations(model), model.visual.image_size, model.visual.preprocess_cfg


def test_every_tag_is_built_as_its_authors_ran_it(without_hub):
    wrong = []
    for architecture, tag in open_clip.list_pretrained():
        name = f"{architecture}:{tag}"
        said, config = open_clip.get_pretrained_cfg(architecture, tag), open_clip.get_model_config(architecture)
        found, size, _ = structure(architecture, str(located(name).forced))
        # roberta-ViT-B-32 was trained with the QuickGELU of its architecture; its tag does not repeat it.
        quick = said.get("quick_gelu") or config.get("quick_gelu")
        if found - {"QuickGELU" if quick else "GELU"}:
            wrong.append((name, found))
        wanted = config["vision_cfg"]["image_size"]
        if size != (wanted if isinstance(wanted, list) else (wanted, wanted)) and size != wanted:
            wrong.append((name, size))
        tokenizer = open_clip.get_tokenizer(located(name).architecture)
        length = config["text_cfg"].get("context_length", 77)
        if tokenizer.context_length != length:
            wrong.append((name, tokenizer.context_length, length))
    assert not wrong


def test_every_tag_prepares_pictures_as_it_says(without_hub, monkeypatch):
    """What open_clip is handed for each tag, without building 196 models."""
    wrong, made = [], {}

    class Stop(Exception):
        pass

    def stop(*_, **config):
        raise Stop

    for kind in ("CLIP", "CustomTextCLIP", "CoCa"):
        monkeypatch.setattr(f"open_clip.factory.{kind}", stop)
    monkeypatch.setattr(
        "open_clip.factory.merge_preprocess_dict",
        lambda base, over, merge=open_clip.factory.merge_preprocess_dict: made.update(merge(base, over)) or merge(base, over),
    )
    for architecture, tag in open_clip.list_pretrained():
        made.clear()
        with pytest.raises(RecipeError):
            built(f"{architecture}:{tag}", located(f"{architecture}:{tag}"), "meta", weights=False)
        said = open_clip.get_pretrained_cfg(architecture, tag)
        got = {k: made[k] for k in ("mean", "std", "interpolation", "resize_mode")}
        wrong += [(architecture, tag, got)] if got != {k: said[k] for k in got} else []
    assert not wrong


def test_a_tag_with_quickgelu_is_another_model_than_before():
    assert weights_id("ViT-B-32:openai") == 'ViT-B-32:openai {"quick_gelu": true}'
    assert weights_id("ViT-B-32-quickgelu:openai") == "ViT-B-32-quickgelu:openai"
    assert weights_id("ViT-B-32:laion2b_s34b_b79k") == "ViT-B-32:laion2b_s34b_b79k"
    assert located("roberta-ViT-B-32:laion2b_s12b_b32k").forced == {}


SIGLIP = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "resize_mode": "squash"}


@pytest.mark.parametrize(
    "architecture, said, forced, warns",
    [
        ("ViT-B-32", "", {}, True),  # its tags differ: as the architecture says, with a warning
        ("ViT-B-32", "#quick_gelu", {"quick_gelu": True}, False),
        ("ViT-B-32", "#gelu", {}, False),
        ("ViT-B-32", "#openai", {"quick_gelu": True}, False),
        ("ViT-B-32", "#laion2b_s34b_b79k", {}, False),
        ("ViT-B-32-quickgelu", "", {}, False),
        ("ViT-B-32-quickgelu", "#gelu", {"quick_gelu": False}, False),
        ("ViT-H-14-378", "", {"quick_gelu": True, "resize_mode": "squash"}, False),  # all its tags agree
        ("ViT-B-16-SigLIP", "", SIGLIP, False),
        ("ViT-S-32-alt", "", {}, True),  # nobody has published any
    ],
)
def test_a_file_is_run_as_said_or_as_all_tags_agree(architecture, said, forced, warns, tmp_path, caplog):
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"")
    with caplog.at_level(logging.INFO, logger="curate"):
        found = located(f"{architecture}:{file}{said}")
    assert (found.architecture, found.pretrained, found.forced) == (architecture, str(file), forced)
    assert any("taken: GELU" in r.message and r.levelname == "WARNING" for r in caplog.records) == warns
    assert warns or "activation" in caplog.text


@pytest.mark.parametrize("activation, expected", [("", {"GELU"}), ("#quick_gelu", {"QuickGELU"}), ("#gelu", {"GELU"})])
def test_a_folder_is_run_as_it_says_or_as_said(activation, expected, tmp_path, caplog):
    name = tiny_clip(tmp_path / "tiny") + activation
    with caplog.at_level(logging.INFO, logger="curate"):
        assert activations(models.clip(name).model) == expected
    assert caplog.messages == [f"model {name}: CLIP on {models.clip(name).device}, activation {min(expected)}"]
    assert (weights_id(name) == weights_id(name.partition("#")[0])) == (not activation)


def test_a_folder_with_quickgelu_of_its_own(tmp_path):
    folder = Path(tiny_clip(tmp_path / "tiny"))
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = True
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    assert activations(models.clip(str(folder)).model) == {"QuickGELU"}
    assert activations(models.clip(f"{folder}#gelu").model) == {"GELU"}


@pytest.mark.parametrize("name", ["{file}#quickgelu", "{file}#laion9b", "{folder}#openai"])
def test_a_wrong_setting_is_refused(name, tmp_path):
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"")
    with pytest.raises(RecipeError, match="neither #quick_gelu"):
        located(name.format(file=f"ViT-B-32:{file}", folder=tiny_clip(tmp_path / "tiny")))


def changed(folder: str, change) -> str:
    """The model's folder with other weights."""
    from safetensors.torch import load_file, save_file

    path = Path(folder) / "open_clip_model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    return folder


def spoil(state):
    state["visual.proj"][0, 0] = float("nan")


def cut(state):
    for key in ("visual.proj", "text_projection", "visual.conv1.weight", "visual.class_embedding"):
        del state[key]


def widen(state):
    import torch

    state["text_projection"] = torch.zeros(8, 64)


def regrid(state):
    import torch

    state["visual.positional_embedding"] = torch.zeros(17, 32)


def rename(state):
    for key in list(state):
        state[f"other.{key}"] = state.pop(key)


@pytest.mark.parametrize("ready", [clip_ready, models.clip], ids=["before the run", "in a worker"])
@pytest.mark.parametrize(
    "change, says",
    [
        (spoil, "visual.proj: weights that are NaN or infinite"),
        (
            cut,
            "weights of another model: lacks text_projection, visual.class_embedding, visual.proj and 1 more",
        ),
        (widen, "weights of another model: text_projection is .*8, 64.*, not .*8, 32"),
        (regrid, "weights of another model: visual.positional_embedding is .*17, 32.*, not .*5, 32"),
        (rename, "weights of another model: lacks .* and .* more; has other"),
        (dict.clear, "tiny"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, says, ready, tmp_path):
    name = changed(tiny_clip(tmp_path / "tiny"), change)
    with pytest.raises(RecipeError, match=says) as e:
        ready(name)
    assert "\n" not in str(e.value) and str(e.value).startswith(f"model {name}")


@pytest.mark.parametrize("ready", [clip_ready, models.clip], ids=["before the run", "in a worker"])
def test_files_that_are_no_weights_are_refused(ready, tmp_path):
    text, folder = tmp_path / "notes.pt", Path(tiny_clip(tmp_path / "tiny"))
    text.write_text("these are no weights")
    with pytest.raises(RecipeError, match=r"notes\.pt"):
        ready(f"ViT-S-32-alt:{text}#gelu")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(RecipeError, match="tiny"):
        ready(str(folder))
    with pytest.raises(RecipeError, match=r"no folder of open_clip's format"):
        weights_id(str(tmp_path))
    (folder / "open_clip_config.json").write_text("{")
    with pytest.raises(RecipeError, match=r"no folder of open_clip's format"):
        weights_id(str(folder))


def test_good_weights_pass_in_silence(tmp_path, caplog):
    clip_ready(tiny_clip(tmp_path / "tiny"))
    models.clip(str(tmp_path / "tiny"))
    assert not caplog.records
    assert CONFIG["model_cfg"].get("quick_gelu") is None


@pytest.mark.parametrize("name", ["ViT-L-14:openai", "hf-hub:org/name", "ViT-B-16-SigLIP:webli"])
def test_a_model_that_cannot_be_had_says_what_can(name, monkeypatch):
    def down(*_, **__):
        raise ConnectionError("nobody answers\nsecond line")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", down)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)
    with pytest.raises(RecipeError) as e:
        clip_ready(name)
    assert str(e.value).startswith(f"model {name}: not in this machine's cache") and "\n" not in str(e.value)
    assert "nobody answers" in str(e.value) and clip_names.INSTEAD in str(e.value) and "--model small" in str(e.value)


def test_what_is_cached_or_on_the_hub_is_ready(monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url, timeout: asked.append(url))
    clip_ready("ViT-L-14:openai")
    assert asked == ["https://huggingface.co/timm/vit_large_patch14_clip_224.openai/resolve/main/open_clip_model.safetensors"]
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: "/cache/file")
    clip_ready("ViT-B-32:laion2b_s34b_b79k")
    assert len(asked) == 1


def test_a_name_that_the_hub_does_not_take():
    with pytest.raises(RecipeError, match="neither a folder here nor a name of the hub"):
        hub.on_hub("captioner x", "no such/folder/at all", ("config.json",), "give another")


@pytest.mark.parametrize("call", ["clip_width('small')", "tokenizer.counter('clip')(['a dog'])"])
def test_it_is_known_before_a_model_is_loaded(call):
    """In a new process, in which nothing has made torchvision importable."""
    done = subprocess.run(
        [sys.executable, "-c", f"from curate.models import clip_width, tokenizer\n{call}"], capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
