"""Models that write: captions from pictures, texts from texts. Each is loaded when it is used; torch, transformers and vllm are
not needed before."""

from curate.synth.captioners.asking import Asking, Wanted
from curate.synth.captioners.base import Answer, Content, Decoding, Request, Seen, Writer
from curate.synth.captioners.batches import BatchWriter
from curate.synth.captioners.named import named

__all__ = ["Answer", "Asking", "BatchWriter", "Content", "Decoding", "Request", "Seen", "Wanted", "Writer", "named"]
