"""Captioners that open_clip runs: CoCa, and the small one for machines without a hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.models import clip, clip_ready, file_sha256, weights_id
from curate.synth.captioners.base import Answer, Decoding, PreparedImage, Request, seen
from curate.synth.captioners.batches import BatchWriter
from curate.synth.captioners.decode import Marks, Step, beam, draw

SMALL = Path(__file__).parents[2] / "models" / "weights" / "small_captioner"


def written(step: Step, requests: list[Request], marks: Marks, decoding: Decoding, device: str, spell: Any) -> list[Answer]:
    """Run the decoder for all requests; `spell` turns tokens without the marks into text."""
    if decoding.beams > 1:
        found = beam(step, len(requests), marks, decoding, device)
    else:
        found = draw(step, [r.seed for r in requests], marks, decoding, device)
    return [
        Answer(spell([t for t in tokens if t != marks.end]), "stop" if tokens[-1] == marks.end else "length", len(tokens))
        for tokens in found
    ]


@dataclass
class Coca(BatchWriter):
    """CoCa (2205.01917) as open_clip has it: `MODEL:PRETRAINED_OR_FILE`, or a folder. It takes no prompt."""

    engine = "open_clip_torch"
    model: str = "coca_ViT-L-14:mscoco_finetuned_laion2b_s13b_b90k"

    def weights(self) -> str:
        return weights_id(self.model)

    def preflight(self) -> None:
        clip_ready(self.model, f"name a file of weights, coca:ARCHITECTURE:FILE; {self.instead}")

    def load(self) -> None:
        self._clip = clip(self.model, "float32")
        tokenizer = self._clip.tokenize
        self._marks = Marks(tokenizer.sot_token_id, tokenizer.eot_token_id)

    def prepare(self, image: np.ndarray) -> PreparedImage:
        return seen(self._clip.prepare(image))

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        import torch

        model, device = self._clip.model, self._clip.device
        with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            latent, tokens = model._encode_image(self._clip.normalize(np.stack([r.pictures[0].data for r in requests])))

            def step(text: Any, rows: Any) -> Any:
                out = model(None, text, image_latent=latent[rows], image_embs=tokens[rows], output_labels=False)
                return out["logits"][:, -1].float()

            return written(step, requests, self._marks, decoding, device, lambda t: self._clip.tokenize.decode(t).strip())


@dataclass
class Small(BatchWriter):
    """The small captioner in `curate/weights/small_captioner`: three layers over the small CLIP's picture tower. It takes no
    prompt.

    It knows drawings: emoji, stamps, clip art, furniture. For photographs take Coca.
    """

    engine = "torch"
    gpus = 0
    batch = 64
    model: str = "small"
    file: str = ""  # of weights; by default the committed ones

    def path(self) -> str:
        return self.file or str(SMALL / "captioner.safetensors")

    def weights(self) -> str:
        return f"sha256:{file_sha256(self.path())}"

    def preflight(self) -> None:
        clip_ready("small")

    def load(self) -> None:
        from curate.synth.captioners.small import load

        self._clip = clip("small", "float32")
        self._decoder, self._words = load(self.path())

    def prepare(self, image: np.ndarray) -> PreparedImage:
        return seen(self._clip.prepare(image))

    def write(self, requests: list[Request], decoding: Decoding) -> list[Answer]:
        import torch

        with torch.inference_mode():
            pictures = self._clip.normalize(np.stack([r.pictures[0].data for r in requests]))
            prefix = self._decoder.prefix(self._clip.model.visual.trunk(pictures).float().cpu())
            return written(
                lambda text, rows: self._decoder(text, prefix[rows])[:, -1],
                requests,
                self._words.marks,
                decoding,
                "cpu",
                self._words.spell,
            )
