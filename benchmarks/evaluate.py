"""Does curating help: the demo's pool, a random subset of it and what the demo's recipe keeps, each trained on with the same compute.

    python -m benchmarks.evaluate FOLDER [--tier M] [--seeds 5] [--samples-seen 25600] [--without all|STEP ...]

Pairs whose title is held out (`pairs.held_out`, one title in eight with all its styles) are taken out of the list, also where only their
caption was lent to another picture; the rest of the demo's web is curated by `pipelines/demo.py`, and the whole pool by
`pipelines/datacomp_none.py`. Both are curated again at 72 pixels, so that loading costs little, and compared by `curate evaluate` on the held-out pairs:
retrieval among all of them, and classification among the titles that have two pictures and more. Made once in FOLDER; what is there is not made again.

--without: what `web_pairs` keeps with the demo's settings is compared with what it keeps when a step is left out, one step at a time.
"""

import argparse
import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from curate.balance.entries import ngram_entries
from curate.errors import RecipeError
from curate.extras.demo.faults import rgb_picture
from curate.extras.demo.job import NETWORK, pairs_recipe
from curate.extras.demo.pairs import Pair, encode, pairs
from curate.extras.demo.web import DemoWeb, build
from curate.extras.evaluate import evaluate
from curate.extras.evaluate.trainer import Training
from curate.fetch.stage import Fetch
from curate.models.packages import cache
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.runner.recipes import load
from curate.settings import apply_settings
from curate.sources.url_pairs import UrlPairs
from curate.sources.webdataset import WebDataset
from curate.store.atomic import Store
from curate.upkeep.adopt import adopt
from curate.view.display import Lines
from curate.view.run import Run, open_run

SIDE = 72


def listed(web: DemoWeb, held: list[Pair], folder: Path) -> Path:
    """The web's list without rows that show, or say, what is held out."""
    rows, truth = pq.read_table(web.pairs), pq.read_table(web.truth)
    said = pc.is_in(truth["text"], pa.array([p.text for p in held], pa.large_string()))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows.filter(pc.invert(pc.or_(truth["held_out"], said))), folder / "pairs.parquet")
    return folder / "pairs.parquet"


def entry_list(pairs_file: Path, min_count: int = 3) -> Path:
    """The concepts to balance over: words that are frequent enough in the list's captions."""
    texts = [t for t in pq.read_table(pairs_file, columns=["text"])["text"].to_pylist() if t]
    path = pairs_file.with_name("entries.json")
    path.write_text(json.dumps(ngram_entries(texts, min_count)))
    return path


def curated(web: DemoWeb, pairs_file: Path, folder: Path) -> None:
    """Two runs over the list: by the demo's recipe, and everything that arrives."""
    source = UrlPairs(str(pairs_file))
    recipes = {
        "curated": load("demo").build(source, entries=str(entry_list(pairs_file))),
        "pool": load("datacomp_none").build(source),
    }
    with web.serve():
        for name, recipe in recipes.items():
            recipe.name = name
            for step in recipe.steps:
                step.allow_networks((NETWORK,))
            if name == "pool":
                adopt(Store(folder / "pool"), Store(folder / "curated"))
            run(recipe, str(folder / name), "local", part_size=1_000, progress=Lines())


def ablated(web: DemoWeb, pairs_file: Path, folder: Path, steps: list[str]) -> list[str]:
    """Runs of `web_pairs` with all its steps, and without each of these; their names. all: every step that no other needs."""
    names = ["web_pairs"]
    with web.serve():
        for step in ["", *(removable(pairs_file) if steps == ["all"] else steps)]:
            recipe = apply_settings(pairs_recipe(pairs_file, 0), (), [step] if step else [])
            recipe.name = f"without {step}" if step else "web_pairs"
            names += [recipe.name] if step else []
            out = folder / recipe.name
            if not (out / "dataset.json").exists():
                adopt(Store(out), Store(folder / ("web_pairs" if step else "curated")))
                run(recipe, str(out), "local", part_size=1_000, progress=Lines())
    return names


def removable(pairs_file: Path) -> list[str]:
    """The filters and selectors of `web_pairs` that no other step needs."""
    found = []
    for step in pairs_recipe(pairs_file, 0).steps:
        try:
            apply_settings(pairs_recipe(pairs_file, 0), (), [step.name]).check()
            found.append(step.name)
        except RecipeError:
            continue
    return found


def small(folder: Path, name: str) -> Run:
    """The shards of a run once more, their pictures at 72 pixels."""
    recipe = Recipe(
        WebDataset([str(folder / name)]),
        [Fetch(resize_mode="keep_ratio", image_size=SIDE)],
        shards=Shards(size=2_000),
        name=name,
    )
    return run(recipe, str(folder / "small" / name), "local", progress=Lines())


def held_out(held: list[Pair], folder: Path) -> None:
    """Two held-out sets in the form of CLIP benchmark: all pairs, and the pictures whose title others have too."""
    many = sorted(t for t, n in Counter(p.title.lower() for p in held).items() if n > 1)
    _tar(folder / "pairs" / "0.tar", [(p, {"txt": p.text.encode()}) for p in held])
    _tar(
        folder / "titles" / "0.tar",
        [(p, {"cls": str(many.index(p.title.lower())).encode()}) for p in held if p.title.lower() in set(many)],
    )
    (folder / "titles" / "classnames.txt").write_text("\n".join(many) + "\n")
    (folder / "titles" / "zeroshot_classification_templates.txt").write_text("{c}\n")


def _tar(path: Path, samples: list[tuple[Pair, dict[str, bytes]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for i, (pair, more) in enumerate(samples):
            picture = rgb_picture(pair)
            scale = SIDE / min(picture.size)
            picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
            for suffix, data in {"jpg": encode(picture, ".jpg", 95), **more}.items():
                info = tarfile.TarInfo(f"{i:06d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tier", default="M", choices=("T", "S", "M"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples-seen", type=int, default=25_600)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--without", nargs="+", default=[], metavar="STEP", help="compare web_pairs with itself without a step")
    args = parser.parse_args()
    folder, held = args.folder, [p for p in pairs(args.tier, say=lambda line: None)[0] if p.held_out]
    web = build(cache() / f"web-{args.tier}-0", args.tier, 0, say=lambda line: None)
    if not (folder / "held-out").exists():
        held_out(held, folder / "held-out")
    if not (folder / "pool" / "dataset.json").exists():
        curated(web, listed(web, held, folder / "list"), folder)
    if args.without:
        names = ablated(web, folder / "list" / "pairs.parquet", folder, args.without)
        sets, pool, out = [f"{n}={small(folder, n).store.url}" for n in names], None, folder / "ablation"
    else:
        sets, pool = [f"curated={small(folder, 'curated').store.url}"], small(folder, "pool").store.url
        out = folder / "evaluation"
    found = evaluate(
        sets,
        [str(folder / "held-out" / n) for n in ("pairs", "titles")],
        str(out),
        pool,
        args.samples_seen,
        args.seeds,
        Training(rate=args.lr, warmup=20),
        Lines(),
    )
    rows = {word.partition("=")[0]: open_run(word.partition("=")[2]).recipe["rows"]["images"] for word in sets}
    print(json.dumps(rows))
    print(found)


if __name__ == "__main__":
    main()
