"""Classifiers of images and texts, from the hub or from a folder in the same format."""

from collections.abc import Callable
from typing import Any

import numpy as np

from curate.errors import RecipeError
from curate.models.clip import BATCH
from curate.models.files import THREADS, ensure_torchvision
from curate.models.hub import hugging_ready

#: Labels of the negative class (harmless content).
NEGATIVE_LABELS = frozenset(
    {"neutral", "normal", "safe", "sfw", "non-toxic", "not toxic", "nontoxic", "clean", "drawings", "drawing"}
)


def image_classifier(name: str, labels: tuple[str, ...] = ()) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Images (uint8, RGB) -> the highest probability of `labels`; of all labels but the harmless ones if none are named."""
    ensure_torchvision()
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    prepare, model = _loaded(name, AutoImageProcessor, AutoModelForImageClassification)
    wanted = _label_indices(name, model, labels)
    return lambda images: _scores(
        model, wanted, images, lambda batch: prepare(images=batch, return_tensors="pt", input_data_format="channels_last")
    )


def text_classifier(name: str, labels: tuple[str, ...] = ()) -> Callable[[list[str]], np.ndarray]:
    """Texts -> the highest probability of `labels`; of all labels but the harmless ones if none are named."""
    ensure_torchvision()
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenize, model = _loaded(name, AutoTokenizer, AutoModelForSequenceClassification)
    wanted = _label_indices(name, model, labels)
    # A tokenizer that names no limit has one of 10^30.
    limits = (tokenize.model_max_length, getattr(model.config, "max_position_embeddings", None) or 10**30)
    longest = min(limits) if min(limits) < 10**9 else None
    return lambda texts: _scores(
        model,
        wanted,
        texts,
        lambda batch: tokenize(batch, return_tensors="pt", padding=True, truncation=True, max_length=longest),
    )


def classifier_ready(who: str, name: str) -> None:
    """RecipeError unless a classifier is a local folder, or on the hub."""
    hugging_ready(who, name, "name a folder with the model, or a model of the hub, ORG/NAME")


def _loaded(name: str, *kinds: Any) -> tuple[Any, Any]:
    """The processor (or tokenizer) and the model on its device. Executes no code from the hub and reads no pickle."""
    import torch

    try:
        prepare, model = kinds[0].from_pretrained(name), kinds[1].from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError) as e:
        raise RecipeError(f"model {name}: {str(e).splitlines()[0]}") from e
    if not torch.cuda.is_available():
        torch.set_num_threads(THREADS)
    return prepare, model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _label_indices(name: str, model: Any, labels: tuple[str, ...]) -> list[int]:
    known = {label.lower(): int(i) for i, label in model.config.id2label.items()}
    found = (
        [known[label.lower()] for label in labels if label.lower() in known]
        if labels
        else [i for label, i in known.items() if label not in NEGATIVE_LABELS]
    )
    if not found or len(found) < len(labels):
        raise RecipeError(f"model {name}: its labels are {', '.join(known)}" + (f", not {', '.join(labels)}" if labels else ""))
    return found


def _scores(model: Any, wanted: list[int], items: list, prepare: Callable[[list], Any]) -> np.ndarray:
    import torch

    found = [np.zeros(0, np.float32)]
    for i in range(0, len(items), BATCH):
        with torch.inference_mode():
            logits = model(**prepare(items[i : i + BATCH]).to(model.device)).logits.float()
        several = model.config.problem_type == "multi_label_classification"
        found.append((logits.sigmoid() if several else logits.softmax(-1))[:, wanted].max(-1).values.cpu().numpy())
    return np.concatenate(found)


def fasttext(path: str) -> Any:
    """A fastText model; its `predict` takes texts without newlines."""
    import fasttext as library

    library.FastText.eprint = lambda *_: None  # it warns on every load that its own constructor has changed
    try:
        return library.load_model(path)
    except ValueError as e:
        raise RecipeError(f"{path}: {e}") from e
