"""A stand-in for a model on a GPU, which takes a fixed time for each picture and no CPU, and a pool of pictures for it."""

import io
import tarfile
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

from curate.fetch.stage import Fetch
from curate.preprocess import Preprocess
from curate.recipe import Recipe
from curate.sources.webdataset import WebDataset
from curate.stage import Stage


@dataclass
class StandIn(Stage):
    """The mean of a picture's model input. spent: seconds of computation."""

    reads = ("image",)
    prepared = True
    chunk = 64
    seconds: float = 0.004  # for a picture

    def adds(self):
        return {self.name: pa.float32()}

    def load(self):
        self.preprocess = Preprocess(32)

    def run(self, live, images):
        assert images.shape == (len(live), 32, 32, 3)
        time.sleep(self.seconds * len(images))
        return pa.table({self.name: pa.array(images.mean((1, 2, 3)), pa.float32())})


FORMATS = (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"))


def pool(folder, count=512, tars=2) -> str:
    """Tars of pictures in three formats, each with a caption."""
    noise = np.random.default_rng(0).integers(256, size=(count, 3, 4, 3)).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(tars):
        with tarfile.open(folder / f"{t:05d}.tar", "w") as tar:
            for n in range(t, count, tars):
                suffix, kind = FORMATS[n % 3]
                Image.fromarray(noise[n]).resize((120, 90), Image.Resampling.BICUBIC).save(out := io.BytesIO(), kind)
                for name, data in ((suffix, out.getvalue()), ("txt", b"a picture of number %d" % n)):
                    (info := tarfile.TarInfo(f"{n:06d}.{name}")).size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return str(folder)


def recipe(paths, seconds=0.004) -> Recipe:
    return Recipe(WebDataset([paths]), [Fetch(), StandIn(seconds=seconds)], shards=None, name="stand_in")


def busy(run) -> float:
    """The share of the time from its first picture to its last in which the model computed."""
    pace = run.recipe["counters"]["stand_in"]
    return pace["busy"] / (pace["busy"] + pace["waited"])
