"""VideoBERT (Sun et al. 2019, arXiv 1904.01766): what is said in instructional videos, and the frames on the screen meanwhile.

Videos of less than 15 minutes, English by their transcripts; a sample is what is said in one go with its frames, 20 a second, of
which the authors take 30 (1.5 s) for one visual token. They joined words into sentences by an LSTM that sets punctuation: here
segments of the transcript are taken as they are. Choosing cooking videos by topic is left to the list of files. Published: 312,000
videos, 23,186 hours, 120,000 of them with English speech; captions on YouCook II, by accounts of the paper: BLEU-4 4.33 against
3.84 before.
"""

from curate.filters.document_images import DocumentImages
from curate.filters.document_language import DocumentLanguage
from curate.filters.document_seconds import DocumentSeconds
from curate.filters.document_speech_rate import DocumentSpeechRate
from curate.recipe import Recipe, Shards
from curate.source import Source
from curate.sources.videos import clips
from curate.videos.frames import Frames


def recipe(
    source: Source,
    rate: float = 20.0,
    min_seconds: float = 1.5,
    max_seconds: float = 30.0,
    max_video: float = 900.0,
    side: int = 224,
    language_model: str = "",
    seed: int = 0,
    shard_size: int = 1_000,
) -> Recipe:
    """
    rate: frames kept a second
    min_seconds: seconds that segments are joined up to
    max_seconds: seconds of the longest clip
    max_video: seconds of the longest video
    side: pixels to which the shorter side of a frame is reduced
    """
    cut = clips(
        source, cut="speech", rate=rate, min_seconds=min_seconds, max_seconds=max_seconds, max_video=max_video, max_frames=1000
    )
    return Recipe(
        cut,
        score=[
            DocumentSeconds(min=min_seconds, max=max_seconds),
            DocumentSpeechRate(),
            DocumentLanguage(among={"en"}, min=None, model=language_model),
            Frames(side=side),
            DocumentImages(min=1, max=None),
        ],
        shards=Shards(size=shard_size, seed=seed),
    )
