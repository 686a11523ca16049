"""Models that write: captions from pictures, texts from texts. Each is loaded when it is used; torch, transformers and vllm are
not needed before."""

from curate.synth.captioners.base import Answer, Decoding, Request, Seen, Writer
from curate.synth.captioners.named import named

__all__ = ["Answer", "Decoding", "Request", "Seen", "Writer", "named"]
