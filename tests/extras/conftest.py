"""Pools for tests: one drawn with Pillow (no network, milliseconds), one of real pairs."""

import colorsys
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from curate.extras.demo.build import HOSTS
from curate.extras.demo.pairs import Pair, encode, held_out
from curate.extras.demo.web import DemoWeb, WebError, build, write

#: Ports below the ephemeral ones, others for each process: test runs side by side do not meet.
PORT = 20000 + os.getpid() * 50 % 12000
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "violet", "grey")
SHAPES = (
    "circle",
    "square",
    "triangle",
    "ring",
    "cross",
    "bar",
    "stripes",
    "frame",
    "dots",
    "diamond",
    "wedge",
    "grid",
    "arrow",
    "house",
    "wave",
    "star",
    "moon",
    "leaf",
    "fish",
    "key",
)


def drawn(number: int) -> Pair:
    """The number-th of 160 pairs: a shape in a colour, each picture different."""
    colour, shape = COLOURS[number % 8], SHAPES[number // 8]
    im = Image.new("RGB", (96 + number % 5 * 16, 96), "white")
    draw, rgb = ImageDraw.Draw(im), tuple(int(255 * c) for c in colorsys.hsv_to_rgb(number % 8 / 8, 0.9, 0.8))
    for i in range(number // 8 + 1):
        draw.ellipse((4 + i * 2, 4 + i, 90 - i, 90 - i * 2), outline=rgb, width=2)
    title = f"a {colour} {shape}"
    suffix = (".png", ".jpg", ".webp")[number % 3]
    german = {"de": f"{shape} in {colour} auf weissem Grund"}
    return Pair(
        f"drawn/{number}",
        ("left", "right")[number % 2],
        title,
        f"{title} on white",
        "CC0-1.0",
        german,
        suffix,
        im.width,
        im.height,
        held_out(title),
        encode(im, suffix),
    )


@pytest.fixture(scope="session")
def drawn_pairs() -> list[Pair]:
    return [drawn(n) for n in range(160)]


@pytest.fixture(scope="session")
def build_drawn_web(drawn_pairs) -> Callable[..., DemoWeb]:
    """build_drawn_web(folder, clean=60, seed=0): a web of drawn pairs in a folder."""

    def build_drawn_web(folder: Path, clean: int = 60, seed: int = 0) -> DemoWeb:
        write(DemoWeb(folder), drawn_pairs, {"seed": seed, "clean": clean, "hosts": list(HOSTS), "left_out": {}}, next(ports))
        return DemoWeb(folder)

    ports = itertools.count(PORT + 1)
    return build_drawn_web


@pytest.fixture(scope="session")
def drawn_web(build_drawn_web, tmp_path_factory) -> DemoWeb:
    """A web of drawn pairs, for tests that need no network."""
    return build_drawn_web(tmp_path_factory.mktemp("drawn") / "web")


@pytest.fixture(scope="session")
def demo_web(tmp_path_factory) -> DemoWeb:
    """A small web of real pairs (two npm packages, 11 MB once)."""
    try:
        return build(tmp_path_factory.mktemp("demo") / "web", "T", port=PORT)
    except WebError as e:
        pytest.skip(f"the packages cannot be had here: {e}")
