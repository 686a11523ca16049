"""Media queries as a browser on a desktop answers them."""

import pytest

from curate.sources.html.media import matches

HOLD = [
    "",
    " ",
    "all",
    "SCREEN AND (MIN-WIDTH: 100PX)",
    "not print",
    "only screen and (min-width: 600px)",
    "(max-width: 600px), (orientation: landscape)",
    "(width >= 600px)",
    "(400px < width)",
    "(400px < width <= 1920px)",
    "(prefers-color-scheme: light)",
    "not screen and (max-width: 600px)",
    "(not (max-width: 600px))",
    "not (max-width: 600px)",
    "(hover)",
    "(min-aspect-ratio: 16/9)",
    "(min-width: 1px) or (foo)",
    "(min-width: 37.5em) and ((max-height: 1px) or (pointer: fine))",
]
FAIL = [
    "print",
    "not all",
    "handheld",
    "(max-width: 600px)",
    "(min-width: 2000px)",
    "(min-width: 40em) and (max-width: 63.9375em)",
    "(600px <= width <= 900px)",
    "(prefers-color-scheme: dark)",
    "(prefers-reduced-motion)",
    "(-webkit-min-device-pixel-ratio: 2), (min-resolution: 192dpi)",
    "(orientation: portrait)",
    "(foo: bar)",
    "not (foo: bar)",
    "screen and (max-width:",
    "(min-width: calc(1px))",
    "(min-width: 1px) and",
    "(min-width: 1px) and (hover) or (hover)",
    "()",
    "(" * 900,
    "(min-width: 1px)" * 100,
]


@pytest.mark.parametrize("media, expected", [(m, True) for m in HOLD] + [(m, False) for m in FAIL])
def test_matches(media, expected):
    assert matches(media) is expected
