"""Models: located, identified by their weights, and loaded. The only package that imports torch, open_clip, transformers and
onnxruntime, lazily."""

from curate.models.classifiers import classifier_ready, fasttext, image_classifier, text_classifier
from curate.models.clip import BATCH, Clip, clip
from curate.models.clip_names import clip_ready, clip_width, weights_id, with_size
from curate.models.files import THREADS, ensure_torchvision, file_sha256, packaged, weights_file
from curate.models.heads import Head, head
from curate.models.hub import hugging_ready
from curate.models.onnx import Onnx, onnx, text_reader

__all__ = [
    "BATCH",
    "THREADS",
    "Clip",
    "Head",
    "Onnx",
    "classifier_ready",
    "clip",
    "clip_ready",
    "clip_width",
    "ensure_torchvision",
    "fasttext",
    "file_sha256",
    "head",
    "hugging_ready",
    "image_classifier",
    "onnx",
    "packaged",
    "text_classifier",
    "text_reader",
    "weights_file",
    "weights_id",
    "with_size",
]
