"""CLIP embeddings of a run's images, or of whole parts of it: the nearest to a row, a text or an image, and a map in two dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from curate import models
from curate.selector import identifier, quoted
from curate.view import views
from curate.view.explore.mapping import Map
from curate.view.run import Run
from curate.view.samples import columns

#: Points on the map.
POINTS = 10_000


@dataclass(frozen=True)
class Embedding:
    """The step of a recipe that embedded images: the column, and the model that embeds texts and other images alike."""

    column: str
    model: str


def embedding_of(recipe: dict[str, Any]) -> Embedding | None:
    """The first CLIP embedding of a recipe.json; None if it has none."""
    for step in recipe.get("steps", []):
        if step.get("class") == "ClipEmbed":
            return Embedding("clip_image" if step["step"] == "clip_embed" else f"{step['step']}_image", step["model"])
    return None


class Vectors:
    """Embeddings of at most `most` images: of a larger run those of whole parts, spread evenly over it (`step`: one part in so many).

    uids: of the images, one row each. rows: images with an embedding in the whole run.
    """

    def __init__(self, run: Run, embedding: Embedding, most: int):
        self.embedding = embedding
        name = identifier(embedding.column)
        self.rows: int = run.sql(f"select count(*) from images where {name} is not null").fetchall()[0][0]
        self.step = max(1, -(-self.rows // most))
        self.con = views.connect(run.store, lambda files: files[:: self.step])
        found = self.con.sql(f"""select uid, any_value({name}) as v from images where {name} is not null
            group by uid order by uid limit {most}""").to_arrow_table()
        self.uids: list[str] = found["uid"].to_pylist()
        flat = found["v"].combine_chunks()
        self.matrix = np.asarray(pa.compute.list_flatten(flat)).astype(np.float32).reshape(len(self.uids), -1)
        self.matrix /= np.maximum(np.linalg.norm(self.matrix, axis=1, keepdims=True), 1e-12)
        self.place = {uid: i for i, uid in enumerate(self.uids)}

    def nearest(self, vector: np.ndarray, n: int, but: str = "") -> list[tuple[str, float]]:
        """The uids of the n images nearest to a vector, with their cosine similarity, most alike first."""
        near = self.matrix @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
        if but in self.place:
            near[self.place[but]] = -2
        best = np.argsort(-near, kind="stable")[:n]
        return [(self.uids[i], float(near[i])) for i in best if near[i] > -2]

    def of_row(self, run: Run, uid: str) -> np.ndarray | None:
        """The vector of any row of the run; None if it has none."""
        if uid in self.place:
            return self.matrix[self.place[uid]]
        name = identifier(self.embedding.column)
        found = run.sql(f"select {name} from images where uid = {quoted(uid)} and {name} is not null limit 1").fetchall()
        return np.asarray(found[0][0], np.float32) if found else None

    def of_words(self, words: str) -> np.ndarray:
        return models.clip(self.embedding.model).encode_texts([words])[0].astype(np.float32)

    def of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """pixels: uint8, height x width x 3."""
        return models.clip(self.embedding.model).encode_images([pixels])[0].astype(np.float32)

    @cached_property
    def shown(self) -> slice:
        """Which of `uids` are on the map: one in so many, so that there are no more than POINTS."""
        return slice(None, None, max(1, -(-len(self.uids) // POINTS)))

    @cached_property
    def map(self) -> Map:
        """The places of the shown ones."""
        return Map(self.matrix[self.shown])

    def values(self, column: str) -> Sequence[Any]:
        """The values of a column of images, in the order of `uids`."""
        known = dict(
            self.con.cursor()
            .execute(f"""select uid, any_value({{'it': {identifier(column)}}}).it from images
            where {identifier(self.embedding.column)} is not null group by uid""")
            .fetchall()
        )
        return [known.get(uid) for uid in self.uids]

    def columns(self) -> dict[str, str]:
        return columns(self.con, "images")
