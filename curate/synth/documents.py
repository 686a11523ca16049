"""Texts about a whole document or clip: a model is shown its paragraphs and pictures in order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate import schema
from curate.errors import RecipeError
from curate.synth.caption import TextStage
from curate.synth.captioners.base import Answer, Content

#: Decodes the pictures of rows; a word in the place of one that cannot be.
Look = Callable[[list[dict[str, Any]]], list[np.ndarray | str]]


@dataclass
class CaptionDocument(TextStage):
    """A model's text about each document: it is shown the paragraphs and pictures in page order, of a clip the frames and the speech
    in order of time, and then the prompt (`document`, `clip`, `compare`, or a text). Adds `caption_x` to documents.

    pictures: the most that are shown, evenly chosen among all, the first and the last among them; no more than the model takes
    (Writer.most_pictures). words: of the texts, from the beginning. least: pictures that a document needs (`compare`: 2); one with
    fewer is not asked for, and `finish` is `bad_image`. A picture that cannot be decoded is passed over.
    video: the frames of a clip are shown as one video, before the speech, to a model that takes videos.

    prompt: `document`, `clip`, `compare`, or a text. The rules are ours.
    """

    table = "documents"
    context = ("texts", "images")
    decodes_context = True
    exposes = (("texts", "text"),)

    prompt: str = "document"
    pictures: int = 8
    words: int = 400
    least: int = 1
    video: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.of:
            raise RecipeError(f"{self.name}: a document's prompt has no names in braces; its texts are shown before it")
        if self.video and not self.by.takes_videos:
            raise RecipeError(f"{self.name}: {type(self.by).__name__} takes no videos")
        if self.most < max(self.least, 1):
            raise RecipeError(
                f"{self.name}: {self.by.model} is shown at most {self.most} pictures, and {self.least} are wanted"
            )

    @property
    def most(self) -> int:
        """Pictures, or frames of a video, that are shown."""
        return self.pictures if self.video else min(self.pictures, self.by.most_pictures)

    def contents(self, live: pa.Table, look: Look, texts: pa.Table, images: pa.Table) -> Iterator[Content | Answer]:
        words, pictures = by_document(texts, ["text"]), by_document(images, schema.PAYLOAD)
        for uid in live["uid"].to_pylist():
            yield self._content(words.get(uid, []), pictures.get(uid, []), look)

    def _content(self, texts: list[dict[str, Any]], images: list[dict[str, Any]], look: Look) -> Content | Answer:
        """What is shown of one document."""
        chosen = evenly([i for i in images if i["payload"] is not None], self.most)
        seen = [(row["position"], pixels) for row, pixels in zip(chosen, look(chosen)) if not isinstance(pixels, str)]
        if len(seen) < self.least:
            return Answer(None, "bad_image")
        if self.video and seen:
            frames = [pixels for _, pixels in seen]
            if len({frame.shape for frame in frames}) > 1:  # a page's pictures are no video
                return Answer(None, "bad_image")
            return (np.stack(frames), *(text for _, text in self._begun(texts)), self._prompt)
        places = sorted([*seen, *self._begun(texts)], key=lambda place: place[0])
        return (*(shown for _, shown in places), self._prompt) if places else Answer(None, "no_text")

    def _begun(self, texts: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
        """The texts with their positions, up to so many words."""
        left = self.words
        for row in texts:
            some = (row["text"] or "").split()[:left]
            left -= len(some)
            if some:
                yield row["position"], " ".join(some)


def by_document(rows: pa.Table, columns: tuple[str, ...] | list[str]) -> dict[str, list[dict[str, Any]]]:
    """The live rows of each document, with some of their columns, in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    wanted = rows.filter(rows["live"]).select(["doc_uid", "position", *columns])
    for row in wanted.sort_by([("doc_uid", "ascending"), ("position", "ascending")]).to_pylist():
        found.setdefault(row["doc_uid"], []).append(row)
    return found


def evenly(rows: list[Any], most: int) -> list[Any]:
    """At most so many of a list, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, most).round().astype(int).tolist()]
