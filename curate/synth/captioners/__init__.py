"""Models that write: captions from pictures, texts from texts. Each is loaded when it is used; torch, transformers and vllm are
not needed before."""

from curate.synth.captioners.base import Answer, Content, Decoding, PreparedImage, Request, Writer
from curate.synth.captioners.batches import BatchWriter
from curate.synth.captioners.named import named
from curate.synth.captioners.request_loop import PendingRequest, RequestLoop

__all__ = [
    "Answer",
    "BatchWriter",
    "Content",
    "Decoding",
    "PendingRequest",
    "PreparedImage",
    "Request",
    "RequestLoop",
    "Writer",
    "named",
]
