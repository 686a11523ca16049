"""What hashes, signatures and near duplicates are does not depend on the processor's instruction set or on threads."""

import os
import subprocess
import sys

import pytest

CODE = """
import hashlib, random
import numpy as np
import pyarrow as pa
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from tests.dedup.pool import edges
from tests.dedup.test_fine_structure import KINDS
from tests.dedup.test_near import EDITS, picture, pool
pictures = [p for s in range(4) for p in (picture(s), *(edit(picture(s)) for edit in EDITS.values()))]
pictures += [make(random.Random(n)) for make in KINDS.values() for n in range(2)]
hashed = PerceptualHash().run(pa.table({"x": range(len(pictures))}), pictures)
print(hashlib.sha256(repr(hashed.to_pydict()).encode()).hexdigest())
found = edges(NearDedup().select(pool(pictures)))
print(list(zip(found["id"].to_pylist(), found["survivor"].to_pylist())))
"""
OLD = {
    "OPENCV_CPU_DISABLE": "SSE4.1,SSE4.2,AVX,FP16,AVX2,AVX512-SKX",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Prescott",
}


def outcome(**variables):
    known = {k: v for k, v in os.environ.items() if k not in OLD}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        env=known | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.fixture(scope="module")
def plain():
    return outcome(OMP_NUM_THREADS="2")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_an_old_processor_finds_the_same(plain, threads):
    assert plain.count("(") > 20 and outcome(**OLD, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads) == plain
