"""Align stage: matches each image of a document to a paragraph, by position, by best cosine or by mmc4's linear assignment."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.optimize import linear_sum_assignment

from curate.errors import RecipeError
from curate.schema import STR
from curate.stage import Stage, within

MODES = ("assign", "max", "dom")


@dataclass
class Align(Stage):
    """Matches each live image to a live paragraph of its page and keeps `min <= cosine`.

    mode: "assign": linear assignment, at most one image for each paragraph with the largest sum of cosines; surplus images get their
    best paragraph (mmc4, arXiv 2304.06939, which first drops images whose best cosine is under 0.15: `Align("max", name="best_text",
    min=0.15)` before it). "max": each image gets its best paragraph. "dom": the paragraph that follows on the page, or the
    last one (Flamingo, OBELICS). image, text: the columns with embeddings of images and of paragraphs, made by one model,
    `model`. min: smallest cosine of an image and its paragraph; none: no limit.

    Adds `align` (the cosine of CLIP embeddings, 0 to 1: negative ones are 0; mmc4-core keeps pages with three quarters above 0.25 of
    ViT-L/14), `align_position` (of the paragraph on the page) and `align_model`. An image
    on a page without paragraphs gets null and is dropped if there is a `min`.
    """

    untracked = ("min",)
    context = ("texts",)
    version = 2

    mode: str = "assign"
    image: str = "clip_image"
    text: str = "clip_text"
    model: str = ""
    min: float | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.mode not in MODES:
            raise RecipeError(f"{self.name}: mode {self.mode!r} is none of {', '.join(MODES)}")
        self.reads = ("doc_uid", "position", self.image)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: pa.float32(), f"{self.name}_position": pa.int32(), f"{self.name}_model": STR}

    def run(self, live: pa.Table, texts: pa.Table) -> pa.Table:
        score, position = np.full(len(live), np.nan, np.float32), np.full(len(live), -1, np.int32)
        pages = group_by_page(live, self.image, np.ones(len(live), bool))
        paragraphs = group_by_page(texts, self.text, np.asarray(texts["live"]))
        for page, (rows, image_positions, image_vectors) in pages.items():
            if page in paragraphs:
                _, text_positions, text_vectors = paragraphs[page]
                cosine = image_vectors @ text_vectors.T
                at = assign_texts(cosine, image_positions, text_positions, self.mode)
                score[rows], position[rows] = cosine[np.arange(len(rows)), at].clip(0.0, 1.0), text_positions[at]
        score = score.astype(np.float16).astype(np.float32)  # the last bits depend on the machine
        found = position >= 0
        return pa.table(
            {
                self.name: pa.array(score, mask=~found),
                f"{self.name}_position": pa.array(position, mask=~found),
                f"{self.name}_model": pa.array([self.model] * len(live), STR),
            }
        )

    def judge(self, columns: pa.Table) -> pa.Array:
        if self.min is None:
            return super().judge(columns)
        return within(columns[self.name], self.min, None, self.name)


def group_by_page(rows: pa.Table, column: str, wanted: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each page: the indices of its wanted rows with an embedding, their positions in page order, and their L2-normalized
    embeddings."""
    pages, positions, embedded = rows["doc_uid"].to_pylist(), np.asarray(rows["position"]), np.asarray(rows[column].is_valid())
    vectors, vector_index = l2_normalized(embedding_matrix(rows[column])), np.cumsum(embedded) - 1
    found: dict[str, list[int]] = {}
    for i in np.argsort(positions, kind="stable").tolist():
        if wanted[i] and embedded[i]:
            found.setdefault(pages[i], []).append(i)
    return {page: (np.array(at), positions[at], vectors[vector_index[at]]) for page, at in found.items()}


def embedding_matrix(embeddings: pa.ChunkedArray) -> np.ndarray:
    """The valid rows of a column of embeddings (lists of equal length) as a matrix."""
    valid = embeddings.drop_null()
    flat = pa.chunked_array([chunk.flatten() for chunk in valid.chunks], embeddings.type.value_type)
    return np.asarray(flat, dtype=np.float32).reshape(len(valid), -1) if len(valid) else np.zeros((0, 1), np.float32)


def l2_normalized(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def assign_texts(cosine: np.ndarray, images: np.ndarray, texts: np.ndarray, mode: str) -> np.ndarray:
    """For each image (row of `cosine`) the index of its text (column), by `mode` as in Align. images, texts: ascending positions on
    the page."""
    if mode == "dom":
        return np.minimum(np.searchsorted(texts, images), len(texts) - 1)
    best = cosine.argmax(axis=1)
    if mode == "assign":
        rows, columns = linear_sum_assignment(cosine, maximize=True)
        best[rows] = columns
    return best
