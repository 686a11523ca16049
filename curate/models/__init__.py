"""Models: found, named by their weights, and loaded. The only place that imports torch, open_clip, transformers and
onnxruntime, when a model is used."""

from curate.models.classifiers import fasttext, image_classifier, text_classifier
from curate.models.clip import BATCH, Clip, Shrink, clip
from curate.models.clip_names import INSTEAD, clip_ready, weights_id
from curate.models.files import THREADS, ensure_torchvision, file_sha256, packaged, weights_file
from curate.models.heads import Head, head
from curate.models.hub import on_hub
from curate.models.onnx import Onnx, onnx, text_reader

__all__ = [
    "BATCH",
    "INSTEAD",
    "THREADS",
    "Clip",
    "Head",
    "Onnx",
    "Shrink",
    "clip",
    "clip_ready",
    "ensure_torchvision",
    "fasttext",
    "file_sha256",
    "head",
    "image_classifier",
    "on_hub",
    "onnx",
    "packaged",
    "text_classifier",
    "text_reader",
    "weights_file",
    "weights_id",
]
