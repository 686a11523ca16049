"""ChatBridge (Zhao et al. 2023, arXiv 2305.16103): any two of picture, video, sound and text, joined by a language model.

Its first stage trains on pairs with text: WebVid-10M for video, WavCaps for sound, image-text pairs besides. So a clip is whole, or as a
table of clips with captions says (columns video, start, end, text); it has few frames, evenly spread, and its sound. Without a
table the video is cut where scenes change (PySceneDetect's content value above 27), with the speech in each scene as its text. Still
clips are dropped: the bound is Panda-70M's idea (2402.19479), the value ours. Published: 150,000 steps of 256 samples in the first stage,
then MULTIS, instructions for 16 tasks; MSVD-QA 45.3 % zero-shot, by accounts of the paper. Clips without a word are dropped. Not here:
sound without video (WavCaps), and MULTIS.
"""

from curate.filters.document_images import DocumentImages
from curate.filters.document_motion import DocumentMotion
from curate.filters.document_seconds import DocumentSeconds
from curate.filters.document_texts import DocumentTexts
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.sources.videos import clips
from curate.videos.frames import Frames, Sound


def recipe(
    source: Source,
    cut: str = "scenes",
    scene_change: float = 27.0,
    frames: int = 4,
    min_seconds: float = 2.0,
    max_seconds: float = 60.0,
    min_motion: float = 0.005,
    side: int = 256,
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """
    cut: where a video is cut: speech, scenes, even, whole
    scene_change: change of hue, saturation and value that is a new scene
    frames: frames of a clip
    min_seconds: seconds of the shortest clip
    max_seconds: seconds of the longest clip
    min_motion: mean change of grey between frames, 0 to 1, that a clip needs
    side: pixels to which the shorter side of a frame is reduced
    """
    return Recipe(
        clips(source, cut=cut, scene_change=scene_change, frames=frames, min_seconds=min_seconds, max_seconds=max_seconds),
        score=[
            DocumentSeconds(min=min_seconds, max=max_seconds),
            DocumentTexts(min=1),
            Frames(side=side),
            DocumentImages(min=1, max=None),
            DocumentMotion(min=min_motion),
            Sound(),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
