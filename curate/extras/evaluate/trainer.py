"""Trainings by open_clip's trainer (`open_clip_train.main`) in a child process: `python -m curate.extras.evaluate.trainer`.

It reads the paths of jobs, one a line, and runs each in a fork of itself, so that slow imports happen once and trainings do not
share global state. The result of a training is a folder in open_clip's own format, which `clip(FOLDER)` opens.
"""

import dataclasses
import json
import os
import shutil
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.models.files import ensure_torchvision

#: The beginning of the line that ends a job; the exit code follows.
DONE = "job done:"
#: A CLIP that learns on a CPU, a few milliseconds a sample: open_clip's ResNet at 64 pixels (1.4 million parameters) and one layer
#: of text (6.5 million, nearly all of them word vectors).
TINY = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 1},
}


@dataclass(frozen=True)
class Training:
    """The configuration of a training, besides its samples; `batches` of `batch` samples are seen, for any size of the set.

    model: `tiny`, one of open_clip's architectures, or a JSON file of an open_clip model configuration.
    more: further arguments of open_clip's trainer, as a list of words.
    """

    model: str = "tiny"
    batch: int = 256
    batches: int = 100
    rate: float = 1e-3
    warmup: int = 10
    workers: int = 1
    more: tuple[str, ...] = ()

    def words(self, tars: list[str], seed: int, name: str, folder: str) -> list[str]:
        """The command line of open_clip's trainer."""
        seen = self.batch * self.batches
        arguments = {
            "train-data": "::".join(tars),
            "dataset-type": "webdataset",
            "train-num-samples": seen,
            "epochs": 1,
            "model": name,
            "batch-size": self.batch,
            "lr": self.rate,
            "warmup": self.warmup,
            "workers": self.workers,
            "seed": seed,
            "logs": folder,
            "name": "training",
            "save-frequency": 0,
            "save-most-recent": None,
            "log-every-n-steps": max(1, self.batches // 50),
        }
        return [w for k, v in arguments.items() for w in (f"--{k}", *([] if v is None else [str(v)]))] + list(self.more)


def configuration(model: str) -> dict[str, Any]:
    """The open_clip configuration of a model; RecipeError names the fault and similar names."""
    if model == "tiny":
        return TINY
    ensure_torchvision()
    import open_clip

    from curate.models.clip_names import near

    if not model.endswith(".json"):
        found = open_clip.get_model_config(model)
        if found is None:
            raise RecipeError(f"model {model}: open_clip has no such architecture" + near(model, open_clip.list_models()))
        return found
    try:
        found = json.loads(Path(model).read_text())
    except (OSError, ValueError) as e:
        raise RecipeError(f"model {model}: cannot be read: {e}") from e
    found = found.get("model_cfg", found) if isinstance(found, dict) else {}
    if missing := [k for k in ("embed_dim", "vision_cfg", "text_cfg") if k not in found]:
        raise RecipeError(f"model {model}: no configuration of open_clip, {', '.join(missing)} missing")
    return found


def train(how: Training, tars: list[str], seed: int, folder: Path) -> None:
    """Train, and write the model into the folder: `open_clip_config.json` and `open_clip_model.safetensors`."""
    import open_clip
    import torch
    from open_clip_train.main import main
    from safetensors.torch import save_file

    config = configuration(how.model)
    (folder / "configs").mkdir()
    (folder / "configs" / "trained.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "configs")
    words = how.words(tars, seed, "trained", str(folder))
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - how.workers))  # the loaders need the other cores
        words += [] if "--precision" in how.more else ["--precision", "fp32"]
    if main(words) == -1:
        raise SystemExit("open_clip's trainer refused; its last line says why")
    checkpoint = torch.load(folder / "training" / "checkpoints" / "epoch_latest.pt", map_location="cpu", weights_only=True)
    weights = {k.removeprefix("module."): v.float().contiguous() for k, v in checkpoint["state_dict"].items()}
    if not all(bool(torch.isfinite(w).all()) for w in weights.values()):
        raise SystemExit("the weights are not numbers any more: a lower learning rate (--lr) may help")
    save_file(weights, folder / "open_clip_model.safetensors")
    looks = open_clip.get_model_preprocess_cfg(open_clip.create_model("trained", load_weights=False))
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": looks}, indent=1))
    shutil.rmtree(folder / "training" / "checkpoints")  # with the optimiser's state they are three times as large


def job(how: Training, tars: list[str], seed: int) -> str:
    """A job as JSON. Its file is in the training's output folder."""
    return json.dumps({"how": dataclasses.asdict(how), "tars": tars, "seed": seed})


def _forked(path: Path) -> int:
    """Run a job in a fork of this process; returns its exit code."""
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        job = json.loads(path.read_text())
        train(Training(**{**job["how"], "more": tuple(job["how"]["more"])}), job["tars"], job["seed"], path.parent)
        code = 0
    except SystemExit as e:
        print(e, flush=True)
    except BaseException as e:
        traceback.print_exc(file=sys.stdout)
        print(f"{type(e).__name__}: {e}", flush=True)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _end_with_parent() -> None:
    """End this process when its parent ends, which closes standard input."""
    os.read(0, 1)  # not sys.stdin, whose lock the loaders' processes would inherit
    os._exit(1)


def main() -> None:
    ensure_torchvision()
    import open_clip_train.main  # noqa: F401  once, for all forks

    while line := sys.stdin.readline():
        print(f"{DONE} {_forked(Path(line.rstrip()))}", flush=True)


if __name__ == "__main__":
    main()
