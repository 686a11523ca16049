"""Media queries as a desktop browser answers them: a screen of 1920 by 1080 CSS pixels, one device pixel each, light, with a mouse.

Media Queries Level 4, as far as `media` attributes of `source` elements use it. What is not known is false, as the standard says.
"""

import re

WIDTH, HEIGHT, EM = 1920.0, 1080.0, 16.0

#: Features with a number: pixels, a ratio, dots per pixel, bits.
NUMBERS = {
    "width": WIDTH,
    "height": HEIGHT,
    "device-width": WIDTH,
    "device-height": HEIGHT,
    "aspect-ratio": WIDTH / HEIGHT,
    "device-aspect-ratio": WIDTH / HEIGHT,
    "resolution": 1.0,
    "-webkit-device-pixel-ratio": 1.0,
    "color": 8.0,
    "monochrome": 0.0,
}
#: Features with a word.
WORDS = {
    "orientation": "landscape",
    "prefers-color-scheme": "light",
    "prefers-reduced-motion": "no-preference",
    "prefers-reduced-data": "no-preference",
    "prefers-contrast": "no-preference",
    "hover": "hover",
    "any-hover": "hover",
    "pointer": "fine",
    "any-pointer": "fine",
    "scripting": "enabled",
    "display-mode": "browser",
    "dynamic-range": "standard",
    "color-gamut": "srgb",
    "update": "fast",
}
_UNITS = {"px": 1, "em": EM, "rem": EM, "pt": 4 / 3, "cm": 96 / 2.54, "mm": 9.6 / 2.54, "in": 96, "vw": WIDTH / 100}
_UNITS |= {"": 1, "x": 1, "dppx": 1, "dpi": 1 / 96, "dpcm": 2.54 / 96}
_VALUE = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))\s*(?:/\s*(\d+\.?\d*|\.\d+)|([a-z]*))")
_RANGE = re.compile(r"\s*(<=|>=|<|>|=)\s*")
_INNERMOST = re.compile(r"\(([^()]*)\)")
_VALUES = {"TRUE": True, "FALSE": False, "NONE": None}
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "="}
#: A query list that is longer says nothing, nor one of more parentheses in each other.
LONGEST, NESTED = 1000, 16


def matches(media: str | None) -> bool:
    """True if one of the queries in a `media` attribute holds, or there is none."""
    media = (media or "").strip().lower()
    return not media or (len(media) <= LONGEST and any(_query(q) for q in media.split(",")))


def _query(query: str) -> bool:
    """`[not|only] type and conditions`, or a condition."""
    words = re.match(r"\s*(?:(not|only)\s+)?([a-z-]+)\s*(?:and\b|$)", query)
    if not words or words[2] == "not":
        return _condition(query) is True
    holds = words[2] in ("screen", "all")
    rest = query[words.end() :]
    condition = _condition(rest) if rest.strip() else True
    return not (holds and condition is True) if words[1] == "not" else holds and condition is True


def _condition(text: str) -> bool | None:
    """Features in parentheses, joined by `and` or `or`, or after `not`; None where that is not known, or is no condition."""
    for _ in range(NESTED):
        text, found = _INNERMOST.subn(_decided, text)
        if not found:
            break
    return _joined(text.split())


def _decided(inner: re.Match) -> str:
    words = inner[1].split()
    value = _joined(words) if {"TRUE", "FALSE", "NONE"} & set(words) else _feature(inner[1])
    return f" {value} ".upper()


def _joined(words: list[str]) -> bool | None:
    """Decided conditions and the words between them, with three values: one true decides an `or`, one false an `and`."""
    while "not" in words[:-1]:
        at = words.index("not")
        words[at : at + 2] = [{"TRUE": "FALSE", "FALSE": "TRUE"}.get(words[at + 1], "NONE")]
    values, joints = words[::2], set(words[1::2])
    if not values or len(words) % 2 == 0 or len(joints | {"and", "or"}) > 2 or len(joints) > 1 or set(values) - _VALUES.keys():
        return None
    decisive = "TRUE" if joints == {"or"} else "FALSE"
    return _VALUES[decisive if decisive in values else "NONE" if "NONE" in values else values[0]]


def _feature(text: str) -> bool | None:
    """One feature: `min-width: 600px`, `width >= 600px`, `400px <= width < 900px`, `orientation: portrait`, `hover`."""
    name, colon, value = (part.strip() for part in text.partition(":"))
    if colon:
        bound = re.match(r"(-webkit-)?(min|max)-(.+)", name)
        if bound:
            return _compared((bound[1] or "") + bound[3], ">=" if bound[2] == "min" else "<=", value)
        return WORDS[name] == value if name in WORDS else _compared(name, "=", value)
    parts = _RANGE.split(text.strip())
    if len(parts) == 1:
        return (
            WORDS[name] not in ("none", "no-preference") if name in WORDS else NUMBERS[name] != 0 if name in NUMBERS else None
        )
    if len(parts) == 5:
        first, second = _compared(parts[2], _MIRRORED[parts[1]], parts[0]), _compared(parts[2], parts[3], parts[4])
        return None if first is None or second is None else first and second
    if parts[0] in NUMBERS:
        return _compared(parts[0], parts[1], parts[2])
    return _compared(parts[2], _MIRRORED[parts[1]], parts[0])


def _compared(name: str, sign: str, value: str) -> bool | None:
    found = _VALUE.fullmatch(value)
    if name not in NUMBERS or not found or (found[3] or "") not in _UNITS:
        return None
    number = float(found[1]) / (float(found[2]) or 1.0) if found[2] else float(found[1]) * _UNITS[found[3] or ""]
    mine = NUMBERS[name]
    return {"<": mine < number, "<=": mine <= number, ">": mine > number, ">=": mine >= number, "=": mine == number}[sign]
