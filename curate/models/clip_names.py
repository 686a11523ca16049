"""CLIP models by name: the architecture, the weights, and the settings that their authors ran them with.

A CLIP model is named `MODEL[:PRETRAINED][#AS]`: an open_clip architecture with a pretrained tag or a file of weights
(`ViT-B-32:laion2b_s34b_b79k`, `ViT-B-32:/models/mine.safetensors`), a folder in open_clip's own format
(`local-dir:/models/mine`, or just the folder), a hub model (`hf-hub:org/name`), or `small`: the small one for machines
without a hub. With a tag the activation and the preprocessing are the tag's, whatever open_clip's architecture defines. A file
does not define them; `#quick_gelu`, `#gelu` or `#TAG` does: that activation, or all that the tag says.
"""

import contextlib
import difflib
import functools
import hashlib
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.models.files import ensure_torchvision, file_sha256
from curate.models.hub import on_hub, on_web

log = logging.getLogger(__name__)

#: The remedy for a model that is not available, for error messages.
INSTEAD = "try --model small, or name a file or folder of weights: --model ARCHITECTURE:FILE"

_ACTIVATIONS = {"quick_gelu": True, "gelu": False}
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class ClipName:
    """A parsed model name: the arguments for open_clip, and the settings that override its own.

    architecture: an open_clip architecture, `local-dir:FOLDER` or `hf-hub:ORG/NAME`. pretrained: a tag, a file, or None.
    forced: settings that open_clip would not choose by itself: `quick_gelu`, and for a file mean, std, interpolation and
    resize mode.
    """

    architecture: str
    pretrained: str | None = None
    forced: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        return Path(self.architecture.removeprefix("local-dir:")) if self.architecture.startswith("local-dir:") else None

    @property
    def file(self) -> str | None:
        """The local file of weights; None for a tag and a hub model."""
        if self.folder:
            ensure_torchvision()
            from open_clip.factory import _find_checkpoint_in_dir

            return _find_checkpoint_in_dir(self.folder)
        return self.pretrained if self.pretrained and os.path.isfile(self.pretrained) else None


def located(name: str) -> ClipName:
    """Parse a model name. RecipeError suggests the nearest architecture or tag."""
    if name == "small":
        from curate.models.small_clip import small_clip

        return ClipName(small_clip(say=lambda line: None)[0])
    base, hash_, wanted = name.rpartition("#")
    if not hash_ or os.path.exists(name) or os.path.exists(name.partition(":")[2]):
        base, wanted = name, ""
    if base.startswith(("local-dir:", "hf-hub:")) or os.path.isdir(base):
        home = base if base.startswith(("local-dir:", "hf-hub:")) else f"local-dir:{os.path.abspath(base)}"
        if wanted and wanted not in _ACTIVATIONS:
            raise RecipeError(f"model {name}: #{wanted} is neither #quick_gelu nor #gelu; all else its own configuration says")
        return ClipName(home, None, {"quick_gelu": _ACTIVATIONS[wanted]} if wanted else {})
    architecture, _, pretrained = base.partition(":")
    ensure_torchvision()
    import open_clip

    known = open_clip.list_models()
    if architecture not in known:
        raise RecipeError(f"model {name}: open_clip has no {architecture}" + near(architecture, known))
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not pretrained:
        raise RecipeError(
            f"model {name}: say which weights, {architecture}:TAG or {architecture}:FILE"
            + (f"; tags: {', '.join(tags)}" if tags else "")
        )
    if not os.path.exists(pretrained) and pretrained not in tags:
        raise RecipeError(f"model {name}: {pretrained} is neither a file nor a tag of {architecture}" + near(pretrained, tags))
    if wanted and wanted not in (*_ACTIVATIONS, *tags):
        raise RecipeError(
            f"model {name}: #{wanted} is neither #quick_gelu, #gelu nor a tag of {architecture}" + near(wanted, tags)
        )
    return ClipName(architecture, pretrained, _settings(name, architecture, pretrained, wanted))


@functools.lru_cache(maxsize=64)  # so that what was assumed is logged once a process
def _settings(name: str, architecture: str, pretrained: str, wanted: str) -> dict[str, Any]:
    """The settings to override in open_clip so that the model runs as its authors ran it."""
    import open_clip
    from open_clip.transform import PreprocessCfg

    own = bool(open_clip.get_model_config(architecture).get("quick_gelu"))
    if not os.path.exists(pretrained):  # a tag: open_clip takes its preprocessing, but not its activation
        tag = open_clip.get_pretrained_cfg(architecture, pretrained)
        quick = _ACTIVATIONS.get(wanted, own or bool(tag.get("quick_gelu")))
        return {"quick_gelu": quick} if quick != own else {}
    tags = [wanted] if wanted and wanted not in _ACTIVATIONS else open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, t) for t in tags]
    settings: dict[str, Any] = {"quick_gelu": _common_value([bool(c.get("quick_gelu")) for c in configs])}
    settings |= {look: _common_value([c[look] for c in configs]) for look in _PREPROCESSING}
    settings["quick_gelu"] = _ACTIVATIONS.get(wanted, settings["quick_gelu"])
    if settings["quick_gelu"] is None:
        log.warning(
            "model %s: a file does not say its activation, and weights of %s are published with both; taken: %s. "
            "OpenAI's, MetaCLIP's and DFN's need #quick_gelu after the file's name; #gelu or #quick_gelu ends this warning",
            name,
            architecture,
            "QuickGELU" if own else "GELU",
        )
    else:
        taken = "QuickGELU" if settings["quick_gelu"] else "GELU"
        log.info(
            "model %s: activation %s, %s", name, taken, "as given" if wanted else f"as all published weights of {architecture}"
        )
    plain = {"quick_gelu": own, **{look: getattr(PreprocessCfg(), look) for look in _PREPROCESSING}}
    return {k: v for k, v in settings.items() if v is not None and v != plain[k]}


def _common_value(values: list[Any]) -> Any:
    """The value that all have in common, None if they differ or there is none."""
    return values[0] if values and all(v == values[0] for v in values) else None


def near(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word, words, 3)
    return f"; did you mean {', '.join(near)}?" if near else f"; there are: {', '.join(words[:12])}" if words else ""


def weights_id(name: str) -> str:
    """The identity of a model's weights and overridden settings: `sha256:…` of local files, else the tag or hub name."""
    found = located(name)
    settings = f" {json.dumps(found.forced, sort_keys=True)}" if found.forced else ""
    if found.architecture.startswith("hf-hub:"):
        return found.architecture + settings
    if found.folder:
        weights = sorted(str(p) for p in found.folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pt"))
        made_of = [json.dumps(_config(name, found.folder), sort_keys=True), *map(file_sha256, weights)]
        return "sha256:" + hashlib.sha256("".join(made_of).encode()).hexdigest() + settings
    return (f"sha256:{file_sha256(found.file)}" if found.file else f"{found.architecture}:{found.pretrained}") + settings


def with_size(name: str) -> str:
    """A model's name, with the size of its weights where they are local files: `small (18 MB)`."""
    found = located(name)
    files = [p for p in found.folder.iterdir() if p.is_file()] if found.folder else [Path(found.file)] if found.file else []
    size = sum(p.stat().st_size for p in files)
    return f"{name} ({size / 1e6:,.0f} MB)" if size else name


def _config(name: str, folder: Path) -> dict[str, Any]:
    """A folder's configuration without paths of this machine."""
    try:
        return json.loads((folder / "open_clip_config.json").read_text("utf-8"), object_hook=_without_places)
    except (OSError, ValueError) as e:
        raise RecipeError(f"model {name}: {folder}: no folder of open_clip's format: {e}") from e


def _without_places(config: dict) -> dict:
    return {k: v for k, v in config.items() if k not in ("hf_model_name", "hf_tokenizer_name")}


def built(name: str, found: ClipName, device: str, weights: bool = True) -> tuple[Any, Any]:
    """The model in eval mode on a device, and open_clip's transform. On `meta`, or without weights, only the structure. RecipeError if
    the weights are missing, another model's, or not finite."""
    ensure_torchvision()
    import open_clip
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    forced = dict(found.forced)
    quick = forced.pop("quick_gelu", None)
    file = found.file if weights else None
    if weights and found.folder and not file:
        raise RecipeError(f"model {name}: {found.folder} has no weights (.safetensors, .bin or .pth)")
    published = weights and not file  # a tag's or the hub's: open_clip fetches them
    try:
        with _without_warnings(), torch.device("meta") if device == "meta" else torch.device("cpu"):
            model = open_clip.create_model(
                found.architecture,
                None if file else found.pretrained,
                load_weights=published,
                require_pretrained=published,
                device=device,
                force_quick_gelu=bool(quick),
                force_preprocess_cfg=forced,
                pretrained_text=False,
                **({"quick_gelu": False} if quick is False else {}),
            )
            if file:
                _check_weights(name, file, model)
                open_clip.load_checkpoint(model, file, device="cpu")
    except RecipeError:
        raise
    except Exception as e:
        raise RecipeError(f"model {name}: {reason(e)}") from e
    if published and device != "meta":
        _check_finite(name, model.state_dict())
    return model.eval(), image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress open_clip's warnings about intended things: no weights yet, empty meta tensors, a #gelu that differs from the tag."""

    def other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("No pretrained weights loaded")

    logging.getLogger().addFilter(other)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeFilter(other)


def _check_finite(name: str, state: dict[str, Any]) -> None:
    broken = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise RecipeError(f"model {name}: {_first(broken)}: weights that are NaN or infinite")


def _first(keys: list[str], count: int = 3) -> str:
    return ", ".join(keys[:count]) + (f" and {len(keys) - count} more" if len(keys) > count else "")


def reason(e: Exception) -> str:
    """The reason why a model could not be loaded, in one line; for weights that do not fit, their first keys."""
    lines = [line.strip() for line in str(e).splitlines() if line.strip()] or [type(e).__name__]
    if "pip install transformers" in lines[0]:
        return "its text tower needs the package transformers: pip install 'curate-multimodal[web]'"
    if "loading state_dict" not in lines[0]:
        return lines[0][:300]
    kinds, quoted = {"Missing": "lacks", "Unexpected": "has"}, re.compile('"([^"]+)"')
    parts = [f"{kinds[n.split()[0]]} {_first(quoted.findall(n))}" for n in lines[1:] if n.split()[0] in kinds]
    sizes = [m for n in lines[1:] if (m := re.match(r"size mismatch for ([\w.]+): .*?Size\((.*?)\).*?Size\((.*?)\)", n))]
    parts += [f"{key} is {one}, not {other}" for key, one, other in (m.groups() for m in sizes[:3])]
    return "weights of another model: " + "; ".join(parts)


def _check_weights(name: str, file: str, model: Any) -> None:
    """RecipeError if a file's weights contain NaN, or are for another picture or context size, which open_clip would interpolate."""
    from open_clip.factory import load_state_dict

    if file.endswith((".npz", ".npy")):  # big_vision's, which open_clip alone reads
        return
    try:
        state = {k: v for k, v in load_state_dict(file, device="cpu").items() if hasattr(v, "isfinite")}
    except Exception as e:
        raise RecipeError(f"model {name}: {file}: {reason(e)}") from e
    _check_finite(name, state)
    own = {k: v.shape for k, v in model.state_dict().items()}
    sizes = [
        k for k in own if k in state and state[k].shape != own[k] and len(own[k])
    ]  # a scale may be one number or a list of one
    if any(k.endswith(("positional_embedding", "pos_embed")) for k in sizes):
        differences = (f"{k} is {list(state[k].shape)}, not {list(own[k])}" for k in sizes[:3])
        raise RecipeError(f"model {name}: weights of another model: {'; '.join(differences)}")


def clip_ready(name: str, instead: str = INSTEAD) -> None:
    """RecipeError if a model cannot be loaded: a hub model is looked up in the cache and on the hub, a local one is read and compared with
    its architecture. Nothing is downloaded."""
    found = located(name)
    who = f"model {name}"
    if found.file or found.folder:
        _check_local(name, weights_id(name))
    elif found.pretrained is None:
        on_hub(who, found.architecture.removeprefix("hf-hub:"), _FILES, instead)
    else:
        import open_clip

        config = open_clip.get_pretrained_cfg(found.architecture, found.pretrained)
        if config.get("hf_hub"):
            repository, file = os.path.split(config["hf_hub"])
            on_hub(who, repository, (f"{Path(file).stem}.safetensors", file) if file else _FILES, instead)
        else:
            on_web(who, config["url"], Path.home() / ".cache" / "clip", instead)


def clip_width(name: str) -> int | None:
    """The length of a model's embeddings; None for one of the hub, where only its configuration has it."""
    ensure_torchvision()
    import open_clip

    found = located(name)
    return None if found.architecture.startswith("hf-hub:") else open_clip.get_model_config(found.architecture)["embed_dim"]


_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@functools.lru_cache(maxsize=16)
def _check_local(name: str, weights: str) -> None:
    """RecipeError if a local model's weights do not fit its architecture; cached by process and `weights` (their identity)."""
    built(name, located(name), "meta")
