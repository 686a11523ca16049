"""A CLIP of 0.3 million random weights in open_clip's own folder format: the real loading path, in a fraction of a second."""

import json
from pathlib import Path

CONFIG = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}


def tiny_clip(folder: Path, seed: int = 0) -> str:
    """Write the model into a folder; returns the folder as a model name."""
    import torch

    from curate.models import ensure_torchvision

    ensure_torchvision()
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    model = open_clip.CLIP(**{k: v for k, v in CONFIG["model_cfg"].items()})
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return str(folder)
