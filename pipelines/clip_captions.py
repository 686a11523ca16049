"""Clips of videos with captions of their own, as Panda-70M (Chen et al. 2024, arXiv 2402.19479) and InternVid (2307.06942) have them.

Videos are cut where the scene changes, still and short clips are dropped, and a model that takes several pictures, or with --video a video, writes
what happens from frames, evenly chosen, and the speech between them: `caption_clip` in the sample's `.json`, beside frames, speech (`.txt`) and sound (`.wav`).
`curate export --format clips` writes the clips' own files beside them. Published: Panda-70M has 70.8M clips of 3.8M videos, of 8.5 s on
average, each with the best of several models' captions by a retrieval model fine-tuned for it; InternVid 234M clips. Here one model
captions; the scene change is PySceneDetect's 27 (Panda-70M's released code has 25, drops clips of less than 2.5 s and
cuts longer ones off at 60 s); all other bounds are ours.
"""

from curate.filters.document_images import DocumentImages
from curate.filters.document_motion import DocumentMotion
from curate.filters.document_seconds import DocumentSeconds
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.sources.videos import clips
from curate.synth.captioners import Decoding, named
from curate.synth.documents import CaptionDocument
from curate.videos.frames import Frames, Sound


def recipe(
    source: Source,
    captioner: str = "chat:Qwen/Qwen2.5-VL-3B-Instruct",
    cut: str = "scenes",
    frames: int = 8,
    video: bool = False,
    min_seconds: float = 2.0,
    max_seconds: float = 60.0,
    min_motion: float = 0.005,
    side: int = 384,
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """captioner: model that takes several pictures.
    cut: where a video is cut: speech, scenes, even, whole.
    frames: frames of a clip, all of which the model is shown as far as it takes so many.
    video: whether the model is shown them as one video, before the speech, and not as pictures.
    min_seconds: seconds of the shortest clip.
    max_seconds: seconds of the longest clip.
    min_motion: mean change of grey between frames, 0 to 1, that a clip needs.
    side: pixels to which the shorter side of a frame is reduced.
    """
    writer, decoding = named(captioner), Decoding(max_tokens=128)
    return Recipe(
        clips(source, cut=cut, frames=frames, min_seconds=min_seconds, max_seconds=max_seconds),
        score=[
            DocumentSeconds(min=min_seconds, max=max_seconds),
            Frames(side=side),
            DocumentImages(min=1, max=None),
            DocumentMotion(min=min_motion),
            Sound(),
        ],
        synth=[
            CaptionDocument(writer, prompt="clip", pictures=frames, video=video, decoding=decoding, seed=seed, name="clip"),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
