"""Where a video is cut into clips: as somebody is heard, at scene changes, at equal distances, or not at all."""

import itertools
from dataclasses import dataclass, field

from curate.videos.speech import SpeechSegment


@dataclass(frozen=True)
class Clip:
    """A span of a video in seconds, and what is said in it. `reason`: why it is none."""

    start: float
    end: float
    segments: list[SpeechSegment] = field(default_factory=list)
    reason: str | None = None


def by_speech(segments: list[SpeechSegment], seconds: float, min_seconds: float, max_seconds: float, gap: float) -> list[Clip]:
    """Neighbouring segments together, until a clip has `min_seconds`; never over `max_seconds`, nor over a silence of `gap`.

    A segment that is longer by itself is a clip of `max_seconds`, from its beginning. MIL-NCE (1912.06430) and VATT stretch
    short segments to five seconds in the same way; HowTo100M (1906.03327) takes each segment as it is: `min_seconds=0`.
    """
    clips: list[list[SpeechSegment]] = []
    for one in segments:
        last = clips[-1] if clips else None
        joins = (
            last is not None
            and last[-1].end - last[0].start < min_seconds
            and one.end - last[0].start <= max_seconds
            and one.start - last[-1].end <= gap
        )
        if joins:
            last.append(one)
        else:
            clips.append([one])
    spans = [(c[0].start, min(max(s.end for s in c), c[0].start + max_seconds), c) for c in clips]
    return [
        Clip(start, min(end, seconds), c) if start < seconds else Clip(start, end, c, "clip:beyond_the_end")
        for start, end, c in spans
    ]


def at_cuts(
    cuts: list[float], seconds: float, segments: list[SpeechSegment], min_seconds: float, max_seconds: float
) -> list[Clip]:
    """The spans between cuts; short ones go with the one before, long ones are cut again into equal lengths."""
    edges = [0.0, *(c for c in cuts if 0 < c < seconds), seconds]
    spans: list[tuple[float, float]] = []
    for start, end in itertools.pairwise(edges):
        if spans and end - start < min_seconds and end - spans[-1][0] <= max_seconds:
            spans[-1] = (spans[-1][0], end)
        else:
            pieces = max(1, -int(-(end - start) // max_seconds))
            spans += [(start + (end - start) * i / pieces, start + (end - start) * (i + 1) / pieces) for i in range(pieces)]
    return [Clip(start, end, within(segments, start, end)) for start, end in spans]


def evenly(length: float, seconds: float, segments: list[SpeechSegment]) -> list[Clip]:
    """Spans of `length`, one after the other; what is left at the end and shorter than half of it is left out."""
    count = max(1, int(seconds / length + 0.5))
    spans = [(i * length, min((i + 1) * length, seconds)) for i in range(count)]
    return [Clip(start, end, within(segments, start, end)) for start, end in spans]


def within(segments: list[SpeechSegment], start: float, end: float) -> list[SpeechSegment]:
    """What has its middle in a span."""
    return [s for s in segments if start <= (s.start + s.end) / 2 < end]


def moments(start: float, end: float, count: int, rate: float, most: int) -> list[float]:
    """When the frames of a clip are taken: `rate` a second from its start, or else the middles of `count` equal pieces (TSN,
    1608.00859); at most `most`, spread evenly. Milliseconds, so that a time is one number wherever it is written."""
    length = end - start
    if rate:
        times = [start + i / rate for i in range(max(1, int(length * rate + 1e-6)))]
    else:
        times = [start + length * (i + 0.5) / count for i in range(count)]
    if len(times) > most:
        times = [times[i * len(times) // most] for i in range(most)]
    return [round(t, 3) for t in times]
