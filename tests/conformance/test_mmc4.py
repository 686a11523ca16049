"""mmc4's alignment (arXiv 2304.06939, section 3, and scripts/compute_assignments.py) and C4's rules of text (arXiv 1910.10683, section
2.2) against oracles written from them, on made data with ties."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from curate.filters.document_c4 import DocumentC4
from curate.filters.paragraph_c4 import ParagraphC4
from curate.runner.recipes import load
from curate.sources.web_pages import WebPages


def assigned(cosines: np.ndarray, least: float) -> tuple[list[int], float]:
    """The published rule: images without a sentence of `least` fall; then one image for each sentence with the greatest sum, found by
    trying all. The images that stay, and that sum."""
    alive = [i for i in range(len(cosines)) if cosines[i].max() >= least]
    count = cosines.shape[1]
    if len(alive) <= count:
        tried = [list(zip(alive, p)) for p in itertools.permutations(range(count), len(alive))]
    else:
        tried = [list(zip(p, range(count))) for p in itertools.permutations(alive, count)]
    return alive, max(sum(cosines[i, t] for i, t in found) for found in tried)


def rows(cosines: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """Images and sentences of one page with these cosines: the sentences are unit vectors, what is missing to length 1 is a last axis."""
    images, texts = cosines.shape
    rest = np.sqrt(1 - (cosines**2).sum(axis=1, keepdims=True))
    vectors = np.concatenate([cosines, rest], axis=1)
    live = pa.table(
        {
            "uid": [str(i) for i in range(images)],
            "doc_uid": ["page"] * images,
            "position": pa.array(range(1, 2 * images, 2), pa.int32()),
            "clip_image": pa.array(vectors.tolist(), pa.list_(pa.float32())),
        }
    )
    children = pa.table(
        {
            "doc_uid": ["page"] * texts,
            "position": pa.array(range(0, 2 * texts, 2), pa.int32()),
            "live": [True] * texts,
            "clip_text": pa.array(np.eye(texts, texts + 1).tolist(), pa.list_(pa.float32())),
        }
    )
    return live, children


def steps(**options) -> dict:
    return {s.name: s for s in load("mmc4").build(WebPages("*.warc.gz"), **options).steps}


def pages() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    found = [rng.integers(-2, 9, size=(rng.integers(1, 6), rng.integers(1, 5))) / 16 for _ in range(200)]
    return [f / 2 if (f**2).sum(axis=1).max() > 1 else f for f in found]


def test_images_are_assigned_as_published():
    stages, fallen = steps(min_align=0.125), 0
    for cosines in pages():
        live, texts = rows(cosines)
        best = stages["best_text"].judge(stages["best_text"].run(live, texts=texts))
        left = np.flatnonzero(np.asarray(best.is_null()))
        alive, most = assigned(cosines, 0.125)
        assert alive == left.tolist()
        fallen += len(cosines) - len(left)
        found = stages["align"].run(live.take(pa.array(left)), texts=texts)
        assert stages["align"].judge(found).null_count == len(left)
        places = [p // 2 for p in found["align_position"].to_pylist()]
        # Several assignments may be as good: of each sentence the best image is assigned, all others are at their own best sentence.
        assert len(set(places)) == min(len(left), cosines.shape[1])
        first = {t: max(cosines[i, t] for i, p in zip(left, places) if p == t) for t in places}
        assert sum(first.values()) == pytest.approx(most, abs=1e-6)
        assert all(cosines[i, t] in (first[t], cosines[i].max()) for i, t in zip(left, places))
        assert found["align"].to_pylist() == pytest.approx([max(0, cosines[i, t]) for i, t in zip(left, places)], abs=5e-4)
    assert fallen > 20


def test_core_wants_three_quarters_above_a_quarter():
    aligned = steps(core=True)["document_aligned"]
    documents = pa.table({"uid": ["three", "two", "on the bound"]})
    images = pa.table(
        {
            "doc_uid": [u for u in documents["uid"].to_pylist() for _ in range(4)],
            "live": [True] * 12,
            "align": pa.array([0.26, 0.5, 0.3, 0.1, 0.26, 0.5, 0.2, 0.1, 0.26, 0.5, 0.25, 0.1], pa.float32()),
        }
    )
    table = aligned.run(documents, images=images, texts=images)
    assert aligned.judge(table).to_pylist() == [None, "document_aligned", "document_aligned"]


PLAIN = "many people walked along both sides of it every summer evening when work was done".split() * 4


def kept_lines(page: list[str]) -> list[str] | None:
    """C4's code for a page, as its paper and TensorFlow Datasets have it: the lines that stay; None: the page falls."""
    policy = ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"]
    found = []
    for line in map(str.strip, page):
        if not line.endswith((".", "?", "!", '"')) or line.endswith("...") or len(line.split()) < 5:
            continue
        if any(len(word) > 1000 for word in line.split()) or "javascript" in line.lower():
            continue
        if not any(p in line.lower() for p in policy):
            found.append(line)
    text = " ".join(found)
    sentences = sum(word.rstrip('"').endswith((".", "?", "!")) for word in text.split())
    return None if "lorem ipsum" in text.lower() or "{" in text or sentences < 3 else found


def test_lines_and_pages_fall_by_the_rules_of_c4():
    rng, lines, pages = random.Random(5), ParagraphC4(), DocumentC4()
    words = "the river runs under an old stone bridge while JavaScript or we use cookies and a privacy policy".split() * 2
    ends = [*(".", "?", "!", '."') * 6, "...", "", " ", ":", "…", " Lorem ipsum dolor.", " a {b} c."]
    verdicts = []
    for _ in range(400):
        page = [
            " ".join(rng.choices([*words, *PLAIN], k=rng.randint(2, 9))) + rng.choice(ends) for _ in range(rng.randint(1, 8))
        ]
        found = lines.run(pa.table({"text": pa.array(page, pa.large_string())}))
        alive = [r is None for r in lines.judge(found).to_pylist()]
        expected = kept_lines(page)
        if expected is not None:
            assert [line.strip() for line, live in zip(page, alive) if live] == expected
        count = len(page)
        texts = pa.table({"doc_uid": ["p"] * count, "position": list(range(count)), "live": alive, "text": page})
        columns = pages.run(pa.table({"uid": ["p"]}), images=texts, texts=texts)
        verdicts.append(expected is not None)
        assert (pages.judge(columns)[0].as_py() is None) == verdicts[-1], page
    assert 20 < sum(verdicts) < 380


@pytest.mark.parametrize("text", [f"four words and {'x' * 1001} here.", "It runs in Javascript, and well.", None])
def test_odd_lines_fall(text):
    stage = ParagraphC4()
    assert stage.judge(stage.run(pa.table({"text": pa.array([text], pa.large_string())}))).to_pylist() == ["paragraph_c4"]
