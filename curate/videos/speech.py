"""What is said in a video, with its times: SubRip (.srt), WebVTT (.vtt), and JSON as Whisper writes it."""

import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curate.errors import PoolError
from curate.paths import filesystem, open_file

#: Where the speech of `talk.mp4` may lie, the first one wins: `talk.vtt`, `talk.srt`, `talk.json`.
ENDINGS = (".vtt", ".srt", ".json")

#: Bytes; a longer file is no transcript.
LONGEST = 64 << 20

_TIMES = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})")
_TAG = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,100}\}")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True)
class SpeechSegment:
    """Words and when they are said, in seconds."""

    start: float
    end: float
    text: str


def beside(video: str) -> str | None:
    """The file with a video's speech, or None."""
    fs, inner = filesystem(video)
    stem, there = inner.rsplit(".", 1)[0], None
    there = next((stem + e for e in ENDINGS if fs.exists(stem + e)), None)
    return None if there is None else fs.unstrip_protocol(there) if "://" in video else there


def read(path: str) -> list[SpeechSegment]:
    """The segments of a file in order of time, repeats and empty ones left out. PoolError names the file and what is wrong."""
    with open_file(path) as f:
        data = f.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise PoolError(f"{path}: {LONGEST >> 20} MiB and more: no transcript")
    text = data.decode("utf-8-sig", "replace")
    found = _json(text, path) if path.endswith(".json") else _cues(text)
    kept: list[SpeechSegment] = []
    timed = (s for s in found if math.inf > s.end > s.start >= 0)
    for one in sorted(timed, key=lambda s: (s.start, s.end)):
        words = _BLANKS.sub(" ", one.text).strip()
        if words and not (kept and kept[-1].text == words and one.start <= kept[-1].end + 0.1):
            kept.append(SpeechSegment(one.start, one.end, words))
    return kept


def _cues(text: str) -> Iterator[SpeechSegment]:
    """The cues of SubRip and WebVTT: a line of times, then lines of text up to a blank one."""
    lines = iter(text.splitlines())
    for line in lines:
        times = _TIMES.search(line)
        if times is None:
            continue
        cue = []
        for words in lines:
            if not words.strip():
                break
            cue.append(html.unescape(_TAG.sub("", words)))
        yield SpeechSegment(*_seconds(times.groups()), " ".join(cue))


def _seconds(found: Sequence[str]) -> tuple[float, float]:
    start, end = (
        3600 * float(hours or 0) + 60 * int(minutes) + int(seconds) + int(part) / 10 ** len(part)
        for hours, minutes, seconds, part in (found[:4], found[4:])
    )
    return start, end


def _json(text: str, path: str) -> Iterator[SpeechSegment]:
    """`{"segments": [{"start": 0.0, "end": 2.5, "text": "…"}]}`, or just the list."""
    try:
        found = json.loads(text)
        segments = found["segments"] if isinstance(found, dict) else found
        for one in segments:
            yield SpeechSegment(float(one["start"]), float(one["end"]), str(one["text"]))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as e:
        raise PoolError(f"{path}: no list of segments with start, end and text ({type(e).__name__}: {e})") from e
