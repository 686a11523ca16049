"""One pool and one set of rules, from pictures on disk to what is kept: curate, Data-Juicer on Ray, and what NeMo Curator runs on a CPU.

    python -m benchmarks.peers --envs FOLDER [--rows 10000] [--only curate-local data-juicer curate-text-ray nemo-text …]

FOLDER keeps an environment of each peer (made at the first call: some GB, some minutes) and the pool. The pool is made of real pictures:
cut-outs of photographs, and the demo's drawings and stamps with their names; one in twenty is there twice, one in twenty again
at another quality, and some are small, long, in another language or without a caption.

Rules: three words, six characters, English by lid.176.ftz, sides of 100 pixels, at most 3:1, one of the pictures with equal 64-bit
perceptual hashes. Data-Juicer has an operator for each. What NeMo Curator does with captions alone (`nemo-text`: words and language)
stands beside the same rules here (`curate-text-…`, from a list of URLs); `nemo-interleaved` has one rule, `nemo-image` none.

Each whole process tree is watched: wall and CPU seconds, the highest sum of memory (a shared page counts once). A run over 50 rows
gives the cost of starting; `net` is without it.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from benchmarks.tree import Used, watch

HERE = Path(__file__).resolve().parents[1]
PACKAGES = {
    "juicer": (
        "py-data-juicer==1.6.1",
        "ray[default,data]==2.60.0",
        "imagededup",
        "opencv-python-headless<5",
        "fasttext-predict",
        "torch==2.13.0",
        "torchvision==0.28.0",
    ),
    "nemo": ("nemo-curator[image_cpu,text_cpu]==1.4.0",),
}
RULES = """project_name: peers
executor_type: ray
ray_address: local
dataset_path: {pool}/pairs.jsonl
export_path: {out}/kept
work_dir: {out}/work
np: {cores}
process:
  - words_num_filter: {{lang: en, tokenization: false, min_num: 3}}
  - text_length_filter: {{min_len: 6}}
  - language_id_score_filter: {{lang: en, min_score: 0.0}}
  - image_shape_filter: {{min_width: 100, min_height: 100}}
  - image_aspect_ratio_filter: {{min_ratio: 0.33333, max_ratio: 3.0}}
  - ray_image_deduplicator: {{backend: ray_actor, method: phash}}
"""


def environment(envs: Path, name: str) -> Path:
    """The Python of a peer's environment, made if it is not there. uv resolves in seconds what keeps pip busy for an hour."""
    python = envs / name / "bin" / "python"
    if not (envs / name / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", envs / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "uv"], check=True)
        subprocess.run([python, "-m", "uv", "pip", "install", "-q", "--python", python, *PACKAGES[name]], check=True)
        (envs / name / ".ready").touch()
    return python


# ---- the pool


def rows(count: int) -> Iterator[tuple[bytes, str, str]]:
    """Picture, suffix and caption of each row; the i-th is always the same."""
    from curate.extras.demo.pairs import pairs, sample_photos

    drawn, _ = pairs("S", say=lambda line: None)
    base = count - count // 10
    photos = sample_photos(base - min(len(drawn), base // 3))
    first: list[tuple[bytes, str, str]] = []
    for i in range(base):
        pair = drawn[(i * 7) % len(drawn)]
        picture, suffix = (
            (pair.image, pair.suffix) if i % 3 == 0 and i // 3 < len(drawn) else (photos[len(first) % len(photos)], ".jpg")
        )
        text = pair.text if i % 3 == 0 else f"{pair.text}, photographed in place {i}"
        if i % 10 == 7 and pair.captions:
            text = pair.captions[sorted(pair.captions)[i % len(pair.captions)]]
        if i % 40 in (13, 27):
            picture, suffix = shaped(picture, (60, 60) if i % 40 == 13 else (900, 200)), ".jpg"
        first.append((picture, suffix, "" if i % 100 == 51 else text))
        yield first[-1]
    for i in range(count - base):
        picture, suffix, text = first[(i * 13) % base]
        yield (picture, suffix, text + " again") if i % 2 else (shaped(picture, None), ".jpg", text + " anew")


def shaped(picture: bytes, size: tuple[int, int] | None) -> bytes:
    """The picture in another size, or at another quality, as a JPEG."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as im:
        flat = im.convert("RGB")
        (flat.resize(size) if size else flat).save(out, "JPEG", quality=80)
    return out.getvalue()


def lay(folder: Path, count: int, shard: int = 2500) -> None:
    """The pool in the forms that are read: files with a list (Data-Juicer, NeMo), tars of pairs and a list of URLs (curate), tars of
    documents (NeMo)."""
    if (folder / ".ready").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    (folder / "tars").mkdir()
    (folder / "documents").mkdir()
    made = rows(count)
    with (
        open(folder / "pairs.jsonl", "w", encoding="utf-8") as listed,
        open(folder / "urls.jsonl", "w", encoding="utf-8") as urls,
    ):
        for first in range(0, count, shard):
            name = f"{first // shard:05d}.tar"
            with tarfile.open(folder / "tars" / name, "w") as tars, tarfile.open(folder / "documents" / name, "w") as documents:
                for i, (picture, suffix, text) in zip(range(first, min(first + shard, count)), made):
                    file = folder / "files" / f"{i:06d}{suffix}"
                    file.write_bytes(picture)
                    listed.write(json.dumps({"text": text, "images": [str(file)]}, ensure_ascii=False) + "\n")
                    urls.write(
                        json.dumps({"url": f"http://localhost/{i:06d}{suffix}", "text": text}, ensure_ascii=False) + "\n"
                    )
                    add(tars, f"{i:06d}{suffix}", picture)
                    add(tars, f"{i:06d}.txt", text.encode())
                    add(documents, f"{i:06d}{suffix}", picture)
                    page = {"texts": [text, None], "images": [None, f"{i:06d}{suffix}"]}
                    add(documents, f"{i:06d}.json", json.dumps(page).encode())
    (folder / ".ready").touch()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


# ---- those who run


def curate(name: str, pool: Path, out: Path) -> None:
    """curate's side, in a process of its own; writes the kept rows' numbers."""
    from curate.dedup.near import NearDedup
    from curate.dedup.phash import PerceptualHash
    from curate.fetch.stage import Fetch
    from curate.filters.aspect_ratio import AspectRatio
    from curate.filters.caption_chars import CaptionChars
    from curate.filters.caption_words import CaptionWords
    from curate.filters.image_side import ImageSide
    from curate.filters.language import Language
    from curate.recipe import Recipe, Shards
    from curate.runner.driver import run
    from curate.sources.url_pairs import UrlPairs
    from curate.sources.webdataset import WebDataset

    if name.startswith("curate-text"):
        recipe = Recipe(
            UrlPairs(str(pool / "urls.jsonl")), [CaptionWords(min=3), Language(min=None)], shards=None, name="peers"
        )
        row = "regexp_extract(url, '([0-9]+)[.]', 1)"
    else:
        score = [CaptionWords(min=3), CaptionChars(min=6), Language(min=None)]
        score += [Fetch(), ImageSide(min=100), AspectRatio(max=3.0), PerceptualHash()]
        near = NearDedup(max_distance=0, mirror=False, crops=False)
        recipe = Recipe(WebDataset(str(pool / "tars")), score, [near], shards=Shards(size=2500), name="peers")
        row = "source_key"
    made = run(recipe, str(out), name.rsplit("-", 1)[1], workers=os.cpu_count(), part_size=2500)
    kept = made.sql(f"select ({row})::int from images where kept order by 1").fetchall()
    print(json.dumps({"kept": [k for (k,) in kept], "reasons": made.recipe["rows"]["images"]}))


def commands(args: argparse.Namespace, pool: Path, out: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """For each runner its command and what is added to the environment."""
    juicer = {
        "DATA_JUICER_MODELS_CACHE": str(args.envs / "models"),
        "DATA_JUICER_CACHE_HOME": str(out / "cache"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    config = out / "rules.yaml"
    config.write_text(RULES.format(pool=pool, out=out, cores=os.cpu_count()))
    script, lid = str(HERE / "benchmarks" / "peers_nemo.py"), str(args.envs / "models" / "lid.176.bin")
    found = {
        name: (
            [sys.executable, "-m", "benchmarks.peers", "--child", name, str(pool), str(out / "run")],
            {"PYTHONPATH": str(HERE)},
        )
        for name in ("curate-local", "curate-ray", "curate-text-local", "curate-text-ray")
    }
    found["data-juicer"] = ([str(args.envs / "juicer" / "bin" / "dj-process"), "--config", str(config)], juicer)
    for kind in ("text", "interleaved", "image"):
        found[f"nemo-{kind}"] = (
            [str(args.envs / "nemo" / "bin" / "python"), script, kind, str(pool), str(out / "kept"), lid],
            {"RAY_USAGE_STATS_ENABLED": "0", "PATH": f"{args.envs / 'nemo' / 'bin'}:{os.environ['PATH']}"},
        )
    return {n: c for n, c in found.items() if not args.only or n in args.only}


def kept(name: str, out: Path, log: Path) -> tuple[list[int] | None, str]:
    """Numbers of the rows that a run kept, and its last word."""
    lines = log.read_text(errors="replace").splitlines()
    if name.startswith("curate"):
        found = json.loads(next(line for line in reversed(lines) if line.startswith('{"kept"')))
        return found["kept"], json.dumps(found["reasons"])
    listed = [json.loads(line) for file in sorted((out / "kept").rglob("*.json*")) for line in file.read_text().splitlines()]
    ids = [int(Path(row["images"][0]).stem) for row in listed]
    for file in sorted((out / "kept").rglob("*.parquet")):  # NeMo's documents, a row for each text and picture
        pictures = pq.read_table(file, columns=["sample_id"], filters=[("modality", "==", "image")])
        ids += map(int, pictures["sample_id"].to_pylist())
    if ids:
        return ids, next((line for line in reversed(lines) if line.startswith("kept")), "")
    told = [
        line for line in lines if line.startswith(("kept", "Error", "RuntimeError", "ModuleNotFoundError")) or "Error:" in line
    ]
    return None, (told or lines or [""])[-1][:300]


def one(args: argparse.Namespace, name: str, pool: Path, scratch: Path) -> tuple[Used, list[int] | None, str]:
    out = scratch / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command, more = commands(args, pool, out)[name]
    used = watch(
        command, out / "log", env=os.environ | more, cwd=out if not name.startswith("curate") else HERE, timeout=args.timeout
    )
    return used, *(
        kept(name, out, out / "log") if used.code == 0 else (None, f"exit {used.code}: {kept('', out, out / 'log')[1]}")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--envs", type=Path, help="keeps the peers' environments and the pool")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one run")
    parser.add_argument("--json", type=Path, help="write what was measured here")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return curate(args.child[0], Path(args.child[1]), Path(args.child[2]))
    args.envs = args.envs.resolve()
    prepare(args)
    lay(args.envs / "pool-50", 50)
    lay(args.envs / f"pool-{args.rows}", args.rows)
    found = {}
    print(f"{args.rows:,} rows, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(
        f"{'':18}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'kept':>7} | {'start: wall':>12}{'CPU':>7} | net: {'rows/s':>8}{'rows/CPU-s':>12}"
    )
    scratch = args.envs / "runs"
    (scratch / "list").mkdir(parents=True, exist_ok=True)
    for name in commands(args, args.envs / f"pool-{args.rows}", scratch / "list"):
        few, _, _ = one(args, name, args.envs / "pool-50", scratch)
        used, ids, word = one(args, name, args.envs / f"pool-{args.rows}", scratch)
        # Starting varies by some seconds: a difference of less than half of it says nothing.
        wall, cpu = (
            f"{args.rows / (all_ - start):,.0f}" if all_ - start > start / 2 else "-"
            for all_, start in ((used.wall, few.wall), (used.cpu, few.cpu))
        )
        found[name] = {
            "wall": used.wall,
            "cpu": used.cpu,
            "mb": used.memory,
            "kept": ids,
            "word": word,
            "start": [few.wall, few.cpu],
        }
        print(
            f"{name:18}{used.wall:>8.1f}{used.cpu:>8.1f}{used.memory:>9,.0f}{len(ids) if ids else '-':>7} | {few.wall:>12.1f}{few.cpu:>7.1f} | "
            f"     {wall:>8}{cpu:>12}  {word}",
            flush=True,
        )
    differences(found, args.envs / f"pool-{args.rows}")
    if args.json:
        args.json.write_text(json.dumps(found | {"time": time.time()}, indent=1))
    return None


def prepare(args: argparse.Namespace) -> None:
    for name, peer in (("juicer", "data-juicer"), ("nemo", "nemo")):
        if not args.only or any(o.startswith(peer) for o in args.only):
            environment(args.envs, name)
    from curate.filters.language import packaged

    (args.envs / "models").mkdir(parents=True, exist_ok=True)
    shutil.copy(packaged(), args.envs / "models" / "lid.176.bin")


def differences(found: dict, pool: Path) -> None:
    """Rows that a peer keeps and curate does not by the same rules, and the other way round."""
    lines = (pool / "pairs.jsonl").read_text().splitlines()
    hashes = {i: hashlib.sha256(Path(json.loads(line)["images"][0]).read_bytes()).hexdigest() for i, line in enumerate(lines)}
    for name, f in found.items():
        same = "curate-text" if name.endswith("-text") else "curate-"
        ours = next((set(g["kept"]) for n, g in found.items() if n.startswith(same) and g["kept"]), None)
        if ours is None or not f["kept"] or name.startswith("curate") or name == "nemo-interleaved":
            continue
        theirs = set(f["kept"])
        # Of equal pictures each keeps one, not the same: those are no difference.
        more = [i for i in theirs - ours if hashes[i] not in {hashes[j] for j in ours - theirs}]
        fewer = [i for i in ours - theirs if hashes[i] not in {hashes[j] for j in theirs - ours}]
        print(
            f"{name}: keeps {len(more)} pictures that curate drops, drops {len(fewer)} that curate keeps; e.g. {sorted(more)[:5]}, {sorted(fewer)[:5]}"
        )


if __name__ == "__main__":
    main()
