"""Real pictures from end to end: fetched, decoded, filtered, deduplicated, written as shards, checked; and what a row of it costs.

    python -m benchmarks.pictures [--rows 10000 100000] [--engine ray] [--crops] [--json FILE]

The pictures are windows of some 500 photographs (wallpapers and landscapes in Debian's packages, fetched by name), 160 to 512 pixels
wide, JPEG. A web server on loopback (nginx, which ends with this script) has them under eight addresses. One row in twenty is another
one's file under another URL, one in twenty another one's picture at lower quality or smaller, one in fifty is not there (404), one
in a hundred is cut off in the middle, one in ten has a caption that is too short. Every row must be accounted for, every planted copy
must fall, and `curate check` must find nothing.

The recipe: captions of three words, sides of 96 pixels, at most 3:1, not of one colour, exact duplicates and near ones (without crops,
unless `--crops`: windows of one photograph overlap), shards. Watched: the whole process tree and the driver alone; memory shared by n processes counts as an n-th for each.
"""

import argparse
import io
import itertools
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.costs import report as compare
from benchmarks.fetch import HOSTS, PORT, nginx
from benchmarks.tree import watch
from curate.models.packages import Package, unpacked

PACKAGES = (
    "endless-sky-data",
    "plasma-workspace-wallpapers",
    "mate-backgrounds",
    "gnome-backgrounds",
    "ukui-wallpapers",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
)

RECIPE = '''
from curate import Recipe, Shards
from curate.dedup.exact import ExactDedup
from curate.dedup.near import NearDedup
from curate.dedup.phash import PerceptualHash
from curate.fetch.stage import Fetch
from curate.filters.aspect_ratio import AspectRatio
from curate.filters.caption_words import CaptionWords
from curate.filters.image_side import ImageSide
from curate.filters.single_colour import SingleColour


def recipe(source):
    """Pictures from a web server to shards."""
    return Recipe(
        source,
        [CaptionWords(min=3), Fetch(per_host=16), ImageSide(min=96), AspectRatio(max=3), SingleColour(), PerceptualHash()],
        [ExactDedup(), NearDedup(crops=False)],
        shards=Shards(),
    )
'''


def photographs() -> list[Path]:
    """The files of the packages that are photographs by their format: JPEG of 15 kB or more."""
    found = [f for name in PACKAGES for f in unpacked(Package("debian", name)).rglob("*")]
    return sorted(f for f in found if f.suffix.lower() in (".jpg", ".jpeg") and f.is_file() and f.stat().st_size > 15_000)


def lay(folder: Path, count: int, seed: int = 0) -> dict[str, dict[str, str]]:
    """Write the server's files and the list of URLs; returns what was planted: by kind each URL and that of its original."""
    chance, files = np.random.default_rng(seed), photographs()
    (folder / "www").mkdir()
    sizes = np.sqrt([math.prod(Image.open(f).size) for f in files])  # larger photographs have more windows
    of = np.sort(chance.choice(len(files), count, p=sizes / sizes.sum()))
    order, urls, planted = chance.permutation(count), [""] * count, {k: {} for k in ("copy", "edit", "gone", "broken", "short")}
    last, photo, texts, made = -1, None, [""] * count, []
    for n, row in enumerate(order.tolist()):
        url = f"http://{HOSTS[row % len(HOSTS)]}:{PORT}/{row}.jpg"
        kind = {3: "copy", 7: "edit"}.get(n % 20, {11: "gone"}.get(n % 50, {31: "broken"}.get(n % 100, "")))
        if of[n] != last:
            last, photo = of[n], cv2.imread(str(files[of[n]]))
        kind = "" if kind in ("copy", "edit") and len(made) < 50 else kind
        if kind in ("copy", "edit"):
            model = made[int(chance.integers(len(made)))]
            data = (folder / "www" / f"{model}.jpg").read_bytes()
            data = edited(data, chance) if kind == "edit" else data
        else:
            data, model = window(photo, chance), row
            made += [row] if not kind else []
        if kind != "gone":
            (folder / "www" / f"{row}.jpg").write_bytes(data[: len(data) // 2] if kind == "broken" else data)
        texts[row] = "a view" if n % 10 == 9 else f"a view of place {row} from {files[of[n]].stem[:20]}"
        kind = "short" if n % 10 == 9 else kind
        urls[row] = url
        if kind:
            planted[kind][url] = urls[model]
    pq.write_table(pa.table({"url": urls, "text": texts}), folder / "list.parquet")
    return planted


def window(photo: np.ndarray, chance: np.random.Generator) -> bytes:
    """A part of a photograph, at its own size or up to four times smaller, as a JPEG."""
    height, width = (int(x) for x in chance.integers(160, 513, 2))
    scale = min(chance.uniform(1, 4), photo.shape[0] / height, photo.shape[1] / width)
    h, w = int(height * scale), int(width * scale)
    h, w = min(h, photo.shape[0]), min(w, photo.shape[1])
    y, x = (int(chance.integers(0, most - size + 1)) for most, size in ((photo.shape[0], h), (photo.shape[1], w)))
    part = cv2.resize(photo[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def edited(data: bytes, chance: np.random.Generator) -> bytes:
    """The picture at JPEG quality 50, or at two thirds of its size."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        smaller = image.resize((image.width * 2 // 3, image.height * 2 // 3)) if chance.random() < 0.5 else image
        smaller.save(out, "JPEG", quality=50 if smaller is image else 90)
    return out.getvalue()


def measure(rows: int, engine: str, crops: bool, keep: Path | None) -> dict[str, Any]:
    """One size: its pool, a run in a process of its own, the check, and what was found of what was planted."""
    with tempfile.TemporaryDirectory(dir=keep) as scratch:
        root, out = Path(scratch), Path(scratch) / "run"
        planted = lay(root, rows)
        (root / "pictures.py").write_text(RECIPE.replace("crops=False", f"crops={crops}"))
        run = [sys.executable, "-m", "curate.cli", "run", str(root / "pictures.py"), "--pairs", str(root / "list.parquet")]
        run += ["-o", str(out), "--engine", engine, "--allow-private", "127.0.0.0/8"]
        with nginx(root):
            used = watch(run, root / "log")
        if used.code:
            sys.exit((root / "log").read_text()[-3000:])
        check = subprocess.run(
            [sys.executable, "-m", "curate.cli", "check", str(out)], capture_output=True, text=True, check=False
        )
        files = [f for f in (root / "www").iterdir()]
        return {
            "n": rows,
            "wall": used.wall,
            "cpu": used.cpu,
            "tree": used.memory,
            "driver": used.driver,
            "check": check.stdout.strip(),
            "fine": check.returncode == 0,
            "picture": sum(f.stat().st_size for f in files) / len(files),
            "rates": rates(root, out),
            **judged(out, planted, rows),
        }


def rates(root: Path, out: Path) -> dict[str, Any]:
    """What `curate plan --rows N -o RUN` goes by."""
    from curate.cli.costs import measured
    from curate.runner.recipes import load
    from curate.sources.url_pairs import UrlPairs
    from curate.store.atomic import Store

    recipe = load(str(root / "pictures.py")).build(UrlPairs(str(root / "list.parquet")))
    for step in recipe.steps:
        if hasattr(step, "allow_private"):
            step.allow_private = ("127.0.0.0/8",)
    return asdict(measured(Store(out), recipe.check()))


def judged(out: Path, planted: dict[str, dict[str, str]], rows: int) -> dict[str, Any]:
    """What became of the rows: of those that were planted the share that was dealt with. Of a copy and its original one must have fallen
    for another row, where nothing dropped one of them before."""
    import curate

    run = curate.open(out)
    found = run.sql("select url, drop_reason, kept from images").to_arrow_table().to_pylist()
    reasons: dict[str, int] = {}
    for row in found:
        reasons[row["drop_reason"] or "kept"] = reasons.get(row["drop_reason"] or "kept", 0) + 1
    why = {row["url"]: row["drop_reason"] for row in found}
    joined = (
        run.sql("""select d.url as fell, s.url as stayed, e.step from edges e
        join images d on d.uid = e.uid join images s on s.uid = e.survivor""")
        .to_arrow_table()
        .to_pylist()
    )
    linked = {r[k] for r in joined for k in ("fell", "stayed")}
    there = {u for u, reason in why.items() if reason in (None, "exact_dedup", "near_dedup")}
    fell = {}
    for kind, urls in planted.items():
        pairs = [(u, of) for u, of in urls.items() if kind not in ("copy", "edit") or {u, of} <= there]
        done = sum(
            u in linked and of in linked and not (why[u] is None and why[of] is None) if u in there else True for u, of in pairs
        )
        fell[kind] = done / max(len(pairs), 1)
    return {"accounted": len(found) == rows == len(why), "reasons": reasons, "planted": fell}


def report(m: dict[str, Any]) -> None:
    n = m["n"]
    print(
        f"\n{n:,} rows, pictures of {m['picture'] / 1e3:.1f} kB; {'every row accounted for' if m['accounted'] else 'ROWS ARE MISSING'}"
    )
    print(
        f"  {m['wall']:.0f} s wall, {m['cpu']:.0f} s CPU: {1e3 * m['cpu'] / n:.2f} CPU ms and {1e3 * m['wall'] / n:.2f} ms a row"
    )
    print(f"  peak memory: {m['tree']:,.0f} MB in all, {m['driver']:,.0f} MB the driver")
    print("  " + ", ".join(f"{k} {v:,}" for k, v in sorted(m["reasons"].items(), key=lambda kv: -kv[1])))
    print("  planted and dealt with: " + ", ".join(f"{k} {v:.4f}" for k, v in m["planted"].items()))
    print("  bytes a row: " + ", ".join(f"{k} {v:,.0f}" for k, v in m["rates"]["bytes"].items()))
    print("  ms of a worker a row: " + ", ".join(f"{k} {1e3 * v:.3f}" for k, v in m["rates"]["seconds"].items()))
    print(f"  check: {m['check']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--engine", default="ray", choices=["local", "ray"])
    parser.add_argument("--crops", action="store_true", help="near duplicates may be cut off at the sides")
    parser.add_argument("--folder", type=Path, help="where pictures and runs are made, and removed (about 80 kB a row)")
    parser.add_argument("--json", type=Path, help="write what was measured here")
    args = parser.parse_args()
    points = []
    for rows in args.rows:
        points.append(measure(rows, args.engine, args.crops, args.folder))
        report(points[-1])
        if args.json:
            args.json.write_text(json.dumps(points, indent=1))
    for small, large in itertools.pairwise(points):
        grown = math.log(large["cpu"] / small["cpu"]) / math.log(large["n"] / small["n"])
        print(f"\n{small['n']:,} to {large['n']:,}: exponent {grown:.3f} of CPU time")
        compare(small, large)
    if not all(p["fine"] and p["accounted"] and p["planted"]["copy"] == 1 for p in points):
        sys.exit("a check failed")


if __name__ == "__main__":
    main()
