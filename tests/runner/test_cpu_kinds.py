"""Kept set and tars do not depend on the instruction set of the CPU or on the number of threads of a model."""

import io
import json
import os
import subprocess
import sys
import tarfile

import pytest
from PIL import Image
from skimage import data

from curate.dedup.exact import ExactDedup
from curate.dedup.semantic import SemanticDedup
from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.webdataset import WebDataset

OLD_CPU = {"ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "1"}


def selected(pool: str, out: str) -> list:
    """Root hash, and uid and drop reason of every row, of a run that scores, deduplicates and clusters by embeddings."""
    made = run(
        Recipe(
            WebDataset([pool]),
            [Fetch(), ClipEmbed(model="small"), ClipScore(min=0.1)],
            [ExactDedup(), SemanticDedup(eps=0.15)],
            shards=Shards(size=20),
            name="kinds",
        ),
        out,
        engine="local",
    )
    return [
        made.dataset["root_hash"],
        [list(r) for r in made.sql("select uid, drop_reason from images order by uid").fetchall()],
    ]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Crops of photographs at several places and scales: some alike, most not, with captions that fit and that do not."""
    path = tmp_path_factory.mktemp("kinds") / "pool.tar"
    names = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "retina")
    with tarfile.open(path, "w") as tar:
        for i in range(60):
            picture = Image.fromarray(getattr(data, names[i % len(names)])())
            side = 120 + 20 * (i // 6 % 7)
            left, top = i * 7 % (picture.width - side), i * 5 % (picture.height - side)
            out = io.BytesIO()
            picture.crop((left, top, left + side, top + side)).save(out, "JPEG", quality=90)
            for suffix, content in (("jpg", out.getvalue()), ("txt", f"a photo of a {names[i * 5 // 7 % 6]}, {i}".encode())):
                info = tarfile.TarInfo(f"{i:05d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def test_the_same_tars_from_another_kind_of_cpu(pool, tmp_path):
    script = f"import json, test_cpu_kinds as t; print(json.dumps(t.selected({str(pool)!r}, {str(tmp_path / 'old')!r})))"
    paths = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    old = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **OLD_CPU, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert old.returncode == 0, old.stderr
    root, rows = selected(str(pool), str(tmp_path / "new"))
    assert {reason for _, reason in rows} >= {None, "clip_score", "semantic_dedup"}
    assert [root, rows] == json.loads(old.stdout.splitlines()[-1])
