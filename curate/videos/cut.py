"""Division of a video into clips (by speech, at scene changes, at equal intervals), and the times of a clip's frames."""

import itertools
from dataclasses import dataclass, field

from curate.videos.speech import SpeechSegment


@dataclass(frozen=True)
class Clip:
    """A span of a video in seconds with its speech segments. reason: the drop reason of an invalid clip."""

    start: float
    end: float
    segments: list[SpeechSegment] = field(default_factory=list)
    reason: str | None = None


def split_by_speech(
    segments: list[SpeechSegment], seconds: float, min_seconds: float, max_seconds: float, gap: float
) -> list[Clip]:
    """Clips of consecutive segments, joined until a clip has `min_seconds`, but not beyond `max_seconds` nor over a silence of `gap`.

    A single segment longer than `max_seconds` is cut to it. seconds: length of the video; a clip that starts after it gets a reason.
    MIL-NCE (1912.06430) and VATT extend short segments to five seconds in the same way; HowTo100M (1906.03327) takes each segment
    as it is: `min_seconds=0`.
    """
    clips: list[list[SpeechSegment]] = []
    for segment in segments:
        last = clips[-1] if clips else None
        joins = (
            last is not None
            and last[-1].end - last[0].start < min_seconds
            and segment.end - last[0].start <= max_seconds
            and segment.start - last[-1].end <= gap
        )
        if joins:
            last.append(segment)
        else:
            clips.append([segment])
    spans = [(c[0].start, min(max(s.end for s in c), c[0].start + max_seconds), c) for c in clips]
    return [
        Clip(start, min(end, seconds), c) if start < seconds else Clip(start, end, c, "clip:beyond_the_end")
        for start, end, c in spans
    ]


def split_at_cuts(
    cuts: list[float], seconds: float, segments: list[SpeechSegment], min_seconds: float, max_seconds: float
) -> list[Clip]:
    """The spans between cuts (seconds) of a video; spans under `min_seconds` join the one before, spans over `max_seconds` are divided
    into equal lengths."""
    edges = [0.0, *(c for c in cuts if 0 < c < seconds), seconds]
    spans: list[tuple[float, float]] = []
    for start, end in itertools.pairwise(edges):
        if spans and end - start < min_seconds and end - spans[-1][0] <= max_seconds:
            spans[-1] = (spans[-1][0], end)
        else:
            parts = max(1, -int(-(end - start) // max_seconds))
            spans += [(start + (end - start) * i / parts, start + (end - start) * (i + 1) / parts) for i in range(parts)]
    return [Clip(start, end, segments_within(segments, start, end)) for start, end in spans]


def split_evenly(length: float, seconds: float, segments: list[SpeechSegment]) -> list[Clip]:
    """Consecutive clips of `length` seconds; a remainder shorter than half of it is left out."""
    count = max(1, int(seconds / length + 0.5))
    spans = [(i * length, min((i + 1) * length, seconds)) for i in range(count)]
    return [Clip(start, end, segments_within(segments, start, end)) for start, end in spans]


def segments_within(segments: list[SpeechSegment], start: float, end: float) -> list[SpeechSegment]:
    """The segments whose middle lies in a span."""
    return [s for s in segments if start <= (s.start + s.end) / 2 < end]


def frame_times(start: float, end: float, count: int, rate: float, most: int) -> list[float]:
    """The times of a clip's frames: `rate` a second from its start, or else the middles of `count` equal parts (TSN, 1608.00859); at
    most `most`, evenly spaced. Rounded to milliseconds, so that a time has the same digits wherever it is written."""
    length = end - start
    if rate:
        times = [start + i / rate for i in range(max(1, int(length * rate + 1e-6)))]
    else:
        times = [start + length * (i + 0.5) / count for i in range(count)]
    if len(times) > most:
        times = [times[i * len(times) // most] for i in range(most)]
    return [round(t, 3) for t in times]
