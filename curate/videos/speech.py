"""Readers of transcripts of videos with times: SubRip (.srt), WebVTT (.vtt), and Whisper's JSON."""

import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curate.errors import PoolError
from curate.paths import filesystem, open_file

#: Endings of the transcript beside `talk.mp4`, in order of preference: `talk.vtt`, `talk.srt`, `talk.json`.
ENDINGS = (".vtt", ".srt", ".json")

#: Largest size of a transcript in bytes.
MAX_BYTES = 64 << 20

_TIMES = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})")
_TAG = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,100}\}")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True)
class SpeechSegment:
    """A spoken text with its start and end in seconds."""

    start: float
    end: float
    text: str


def transcript_path(video: str) -> str | None:
    """The path of the transcript beside a video, or None."""
    fs, inner = filesystem(video)
    stem = inner.rsplit(".", 1)[0]
    found = next((stem + e for e in ENDINGS if fs.exists(stem + e)), None)
    return None if found is None else fs.unstrip_protocol(found) if "://" in video else found


def read_transcript(path: str) -> list[SpeechSegment]:
    """The segments of a transcript in order of time, without empty and repeated ones. PoolError names the file and the fault."""
    with open_file(path) as f:
        data = f.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PoolError(f"{path}: larger than {MAX_BYTES >> 20} MiB: not a transcript")
    text = data.decode("utf-8-sig", "replace")
    found = _json(text, path) if path.endswith(".json") else _cues(text)
    kept: list[SpeechSegment] = []
    timed = (s for s in found if math.inf > s.end > s.start >= 0)
    for segment in sorted(timed, key=lambda s: (s.start, s.end)):
        text = _BLANKS.sub(" ", segment.text).strip()
        if text and not (kept and kept[-1].text == text and segment.start <= kept[-1].end + 0.1):
            kept.append(SpeechSegment(segment.start, segment.end, text))
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
    """Start and end in seconds, from the groups of _TIMES."""
    start, end = (
        3600 * float(hours or 0) + 60 * int(minutes) + int(seconds) + int(part) / 10 ** len(part)
        for hours, minutes, seconds, part in (found[:4], found[4:])
    )
    return start, end


def _json(text: str, path: str) -> Iterator[SpeechSegment]:
    """The segments of Whisper's JSON, `{"segments": [{"start": 0.0, "end": 2.5, "text": "…"}]}`, or of just the list."""
    try:
        found = json.loads(text)
        segments = found["segments"] if isinstance(found, dict) else found
        for segment in segments:
            yield SpeechSegment(float(segment["start"]), float(segment["end"]), str(segment["text"]))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as e:
        raise PoolError(f"{path}: no list of segments with start, end and text ({type(e).__name__}: {e})") from e
