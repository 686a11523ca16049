"""VATT (Akbari et al. 2021, arXiv 2104.11178): video, sound and speech of the same moment, all three raw.

Clips of HowTo100M with their transcripts (and of AudioSet, without text). The model samples 32 frames at 10 a second, 3.2 s, and
the sound of the same span at 48 kHz; text is what is said nearest to it, as MIL-NCE does (1912.06430). So segments are joined until
a clip has 3.2 s, frames are kept at 10 a second, 224 pixels and up, and a clip without sound is dropped. Dropping half of the tokens at
random, and noise, are the trainer's. --max-seconds and the bound of silence are ours. Published: 136M clips; Kinetics-400 top-1 82.1 %,
AudioSet mAP 39.4 %, with no labels in pretraining.
"""

from curate.filters.document_images import DocumentImages
from curate.filters.document_seconds import DocumentSeconds
from curate.recipe import Recipe, Shards
from curate.select.where import Where
from curate.source import Source
from curate.sources.videos import clips
from curate.videos.frames import Frames, Sound


def recipe(
    source: Source,
    rate: float = 10.0,
    min_seconds: float = 3.2,
    max_seconds: float = 32.0,
    side: int = 256,
    sound_rate: int = 48_000,
    min_level: float = -60.0,
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """
    rate: frames kept a second
    min_seconds: seconds that segments are joined up to
    max_seconds: seconds of the longest clip
    side: pixels to which the shorter side of a frame is reduced
    sound_rate: samples of sound a second
    min_level: loudness that the sound needs, RMS in dB below full scale
    """
    return Recipe(
        clips(source, cut="speech", rate=rate, min_seconds=min_seconds, max_seconds=max_seconds, max_frames=512),
        score=[
            DocumentSeconds(min=min_seconds, max=max_seconds),
            Sound(rate=sound_rate, needed=True),
            Where("sound_level", min=min_level, name="silence", table="documents"),
            Frames(side=side),
            DocumentImages(min=1, max=None),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
