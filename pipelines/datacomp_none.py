"""DataComp without a filter (Gadre et al. 2023, arXiv 2304.14108): every picture that arrives, each (text, URL) once.

DataComp blurs the faces that its list names (`face_bboxes`); --blur-faces names that column, `source_face_bboxes`, or
`faces_boxes` to find faces here first. What the other baselines are measured against. Published: ImageNet 2.5 / 17.6 / 45.9 / 72.3 % at small / medium / large /
xlarge scale (12.8M, 128M, 1.28B, 12.8B samples).
"""

from curate.fetch.blur_faces import BlurFaces
from curate.fetch.stage import Fetch
from curate.filters.faces import Faces
from curate.recipe import Recipe, Shards
from curate.source import Source


def recipe(source: Source, blur_faces: str = "", seed: int = 0, shard_size: int = 10_000) -> Recipe:
    """blur_faces: column with the boxes of faces to blur, or faces_boxes to find them here; none: nothing is blurred."""
    return Recipe(
        source=source,
        score=[
            Fetch(),
            *([Faces()] if blur_faces == "faces_boxes" else []),
            *([BlurFaces(boxes=blur_faces)] if blur_faces else []),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
