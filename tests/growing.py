"""A dataset of three releases: rows with duplicates within and across them, a recipe of every selector that compares with what is
published, and runs of it. `python growing.py FOLDER PLACE …` lets the third release be killed at each place in turn."""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from toys import Toy, ToyFetch

from curate import schema
from curate.balance.budget import Budget
from curate.balance.caps import Caps
from curate.balance.clusters import ClusterBalance
from curate.balance.metaclip import Balance
from curate.dedup.exact import ExactDedup
from curate.dedup.frequency import Frequency
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.dedup.semantic import SemanticDedup
from curate.dedup.text import TextDedup
from curate.recipe import Recipe, Shards
from curate.stage import Stage
from tests.dedup.test_near import EDITS, picture

RELEASES, ROWS, MOST, TOTAL = (1, 2, 3), 60, 16, 46
COLOURS = ("red", "green", "blue", "black")
DIRECTIONS = np.random.default_rng(5).normal(size=(150, 8)) + 0.3
CENTROIDS = np.concatenate(
    [np.random.default_rng(6).normal(size=(4, 8)), DIRECTIONS.mean(axis=0)[None]]
)  # the last has most rows
BUDGETS = {f"{site}.example": budget for site, budget in zip("abcd", (56.0, 55.0, 60.0, 1000.0))}


def rows(release: int) -> list[dict[str, str]]:
    """The rows of a release's list: URLs that encode the picture behind them, and captions."""
    draw = np.random.default_rng(release)
    found = []
    for n in range(ROWS):
        family, content, direction, words = (int(draw.integers(most)) for most in (300, 500, 150, 300))
        edit, site = ("plain", "brightness", "mirror")[n % 3], "abcd"[int(draw.integers(4))]
        caption = " ".join(str(np.random.default_rng([words, i]).integers(10**6)) for i in range(12))
        colour = COLOURS[min(int(draw.integers(9)), 3)] + (" " + COLOURS[n % 4] if n % 3 == 0 else "")
        url = f"http://{site}.example/{family}/{edit}/{content}/{direction}/{release}-{n}"
        found.append({"url": url, "text": f"{caption} {colour} {'xy'[n % 2]}"})
    earlier = rows(release - 1) if release > 1 else []
    return found + earlier[:5] + found[:2]  # some that are listed again


def made_of(url: str) -> dict[str, object]:
    """The values of a URL's row: its picture's family, a file's digest, an embedding, a score, a site, a banner that many share, tokens."""
    site, family, edit, content, direction, _ = url.removeprefix("http://").split("/")
    draw = np.random.default_rng(list(hashlib.md5(url.encode()).digest()))
    vector = DIRECTIONS[int(direction)] + draw.normal(size=8) * 1e-3
    return {
        "family": family,
        "edit": edit,
        "content": content,
        "vector": vector,
        "score": round(float(draw.random()), 3),
        "site": site,
        "banner": str(int(np.sqrt(draw.integers(400)))),
        "tokens": int(draw.integers(1, 12)),
    }


@dataclass
class Listed(Toy):
    """A JSON list of rows."""

    def read(self, file, part_size):
        listed = json.loads(Path(file).read_text())
        for start in range(0, len(listed), part_size):
            some = listed[start : start + part_size]
            url, text = (pa.array([r[c] for r in some], schema.STR) for c in ("url", "text"))
            places = pa.array(range(start, start + len(some)), pa.int64())
            uids = [schema.uid(r["text"], r["url"]) for r in some]
            files = pa.array([Path(file).name] * len(some), schema.STR)
            columns = [pa.array(uids, schema.STR), files, places, url, text]
            yield {"images": pa.table(columns, names=["uid", "source_file", "source_row", "url", "text"])}


@dataclass
class ModelStandIn(Stage):
    """Stands in for models: the hashes of a drawn picture, and the values of `made_of`."""

    reads = ("url",)
    seed: int = 0

    def adds(self):
        plain = {"content": pa.large_string(), "score": pa.float64(), "site": pa.large_string()}
        plain |= {"banner": pa.large_string(), "tokens": pa.int32()}
        return {**PerceptualHash().adds(), **plain, "vector": pa.list_(pa.float32())}

    def run(self, live):
        found = [made_of(u) for u in live["url"].to_pylist()]
        drawn = [picture(int(f["family"]), (48, 64)) for f in found]
        shown = [EDITS[f["edit"]](p) if f["edit"] in EDITS else p for f, p in zip(found, drawn)]
        hashed = PerceptualHash().run(live, shown)
        for name in ("content", "score", "site", "banner", "tokens", "vector"):
            hashed = hashed.append_column(name, pa.array([f[name] for f in found], self.adds()[name]))
        return hashed.select(list(self.adds()))


def recipe(*lists: str, seed: int = 0, balance: bool = True) -> Recipe:
    selectors = [
        ExactDedup(("content",)),
        NearDedup(by=("score",), crops=False),
        TextDedup(),
        SemanticDedup("vector", by=("score",), clusters=1, probes=1),
        Frequency(("banner",), max=6),
        Caps(("site",), max=MOST, by=("score",)),
        ClusterBalance(TOTAL, "vector", centroids=f"{Path(lists[0]).parent}/centroids.npy", by=("score",)),
        Budget(BUDGETS, key="site", cost="tokens", seed=4),
    ]
    selectors += [Balance(list(COLOURS), t=20, seed=3)] if balance else []
    stages = [ToyFetch(fails="ok"), ModelStandIn(seed=seed)]
    return Recipe(Listed(tuple(lists)), stages, selectors, shards=Shards(size=8), name="growing")


def write_inputs(folder: Path) -> Path:
    """Write the lists of all releases, and the centroids of a balance; returns the folder."""
    np.save(folder / "centroids.npy", CENTROIDS)
    for release in RELEASES:
        (folder / f"{release}.json").write_text(json.dumps(rows(release)))
    return folder


def release(folder: Path, number: int, out: str = "", lists: Path | None = None):
    """Run one release onto the one before it."""
    from curate.runner.driver import run

    onto = [f"{folder}/r{number - 1}"] if number > 1 else []
    where = f"{folder}/{out or f'r{number}'}"
    return run(recipe(f"{lists or folder}/{number}.json"), where, engine="local", part_size=40, onto=onto)


def killed(folder: Path, places: list[str]) -> None:
    import curate.runner.driver  # noqa: F401  imported here once, and not in every child
    from curate.store import failpoints

    for place in places:
        if not (pid := os.fork()):
            failpoints.PLAN = failpoints.Plan(f"kill@{place}", "")
            failpoints.at = failpoints._armed
            release(folder, 3)
            os._exit(0)
        print(place, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    killed(Path(sys.argv[1]), sys.argv[2:])
