"""Every command of README and docs, in order, in one folder beside a small web on loopback.

`python tests/walk.py` runs them in a shell, as a reader would; tests/test_every_command.py runs them in one process.
"""

import csv
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
from documents.page_web import page, sentence, serving, warc
from pictured import pool
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent
#: The pages with commands, in the order in which they are walked: a later one may use what an earlier one made.
PAGES = (
    "docs/tutorial.md",
    "README.md",
    *(f"docs/{name}.md" for name in ("quickstart", "recipes", "costs", "guide", "queries")),
)
PAGES += ("docs/migration.md", "docs/faq.md", "docs/cluster.md", "docs/index.md", "docs/models.md")
PROGRAMS = ("cd", "curate", "git", "hf", "kubectl", "make", "pip", "python", "ray", "sbatch")

#: Commands that are not run, by their beginning, with the reason.
NOT_RUN = {
    "git clone": "needs the repository's address; tests/walk.sh begins with a clone",
    "pip install": "needs a package index; tests/walk.sh installs the clone",
    "make demo": "needs package indexes, and takes minutes; tests/extras runs the same on drawn pictures",
    "make test": "runs this",
    "python -m open_clip_train.main": "trains for hours; `curate evaluate` runs the same program with a tiny model",
    "curate evaluate runs/first": "as in the tutorial, which runs it",
    "curate explore": "serves until it is stopped: tests/view/explore",
    "kubectl": "needs a Kubernetes cluster",
    "ray job submit": "needs a cluster with a job server: tests/test_docs.py starts one",
    "ray up": "needs a cloud",
    "ray exec": "needs a cloud",
    "sbatch": "needs Slurm: tests/cluster/test_slurm.py runs the script with stand-ins",
    "curate run captions.py --pool s3://": "needs a cluster and a bucket: tests/test_docs.py has both",
    "curate watch s3://": "needs a bucket: tests/view/test_watch.py",
}

#: What stands for what cannot be had without a network, or would take long: pattern, replacement.
INSTEAD = (
    (r"--model ViT-L-14:openai", "--model small"),
    (r"--captioner caption:Salesforce/blip2-opt-2.7b", "--captioner small"),
    (r"https?://example\.org/[\w.]+", "{web}/1.jpg"),
    (r"/data/", "data/"),
    (r"(curate evaluate .*)", r"\1 --samples-seen 8 --batch-size 2 --seeds 1"),
    (r"(curate run (?:(?!--engine).)*)$", r"\1 --engine local"),  # one process on this machine, in place of Ray
    (r"(curate run .*)", r"\1 --allow-private 127.0.0.0/8"),  # the small web is on loopback
)


def blocks(file: str, kind: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", (ROOT / file).read_text(), re.M | re.S)


def commands(file: str) -> list[str]:
    """The lines of a page's fenced blocks that begin with the name of a program."""
    fenced = re.findall(r"^```(?:sh|text)?\n(.*?)^```$", (ROOT / file).read_text(), re.M | re.S)
    lines = "".join(fenced).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+# .*", "", line) for line in lines if line.split(" ")[0] in PROGRAMS]


def not_run(command: str) -> str | None:
    """The reason why a command is not run; None if it is."""
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


def adapted(command: str, web: str) -> str:
    """The command as it can be run here."""
    for pattern, instead in INSTEAD:
        command = re.sub(pattern, instead.replace("{web}", web), command)
    return command


@contextmanager
def desk(folder: Path) -> Iterator[str]:
    """Puts the files that the pages speak of into a folder, and serves the pictures they name; yields the web's address."""
    texts = ("A red boat on the beach in the summer", "An old bridge over the river near the town", "Two dogs play in the snow")
    files = {f"/{n}.jpg": picture(n) for n in range(10)}
    with serving(files) as (web, _):
        rows = [(f"{web}/{n}.jpg", "IMG_2031.JPG" if n % 10 == 2 else f"{texts[n % 3]}, number {n}") for n in range(12)]
        with open(folder / "list.csv", "w", newline="") as file:
            csv.writer(file).writerows([("url", "caption"), *rows])
        pq.write_table(pyarrow.csv.read_csv(folder / "list.csv"), folder / "list.parquet")
        for week in (1, 2, 3):
            (folder / f"lists/week{week}").mkdir(parents=True)
            listed = pyarrow.csv.read_csv(folder / "list.csv").slice(week * 3, 3).rename_columns(["URL", "TEXT"])
            pq.write_table(listed, folder / f"lists/week{week}/list.parquet")
        articles = [page([f"{web}/{n}.jpg"], [sentence(n), sentence(n + 50)]) for n in range(3)]
        (folder / "crawl").mkdir()
        records = [(f"http://site{n}.example/", body, "2025-03-01T10:00:00Z") for n, body in enumerate(articles)]
        (folder / "crawl/pages.warc.gz").write_bytes(warc(records))
        for name in ("data/imagenet-val", "test"):
            (folder / name).mkdir(parents=True)
        (folder / "data/imagenet-val/1.jpg").write_bytes(picture(101))
        for name, first in (("data/coco-val.tar", 110), ("test/0.tar", 120)):
            samples(folder / name, {f"{n}": (picture(n), sentence(n)) for n in range(first, first + 4)})
        pool(folder)
        for name in ("captions.py", "mine.py"):
            (folder / name).write_text(next(b for b in blocks("docs/recipes.md", "python") if "def recipe" in b))
        (folder / "removed.csv").write_text("url\nhttp://host1.example/1.png?<b>\n")
        yield web


def picture(n: int) -> bytes:
    """A drawing with grain, of more than 200 pixels a side and 5 kB: what the bounds for the web let pass."""
    rng = np.random.default_rng(n)
    image = Image.new("RGB", (240, 224), tuple(rng.integers(0, 255, 3).tolist()))
    for shape in (ImageDraw.Draw(image).ellipse, ImageDraw.Draw(image).rectangle) * 3:
        x, y, width, height = rng.integers(20, 140, 4).tolist()
        shape((x, y, x + width, y + height), fill=tuple(rng.integers(0, 255, 3).tolist()))
    grain = np.asarray(image) + rng.integers(-12, 12, (224, 240, 1))
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(out := BytesIO(), "JPEG")
    return out.getvalue()


def samples(file: Path, pairs: dict[str, tuple[bytes, str]]) -> None:
    """A tar of pictures with captions."""
    with tarfile.open(file, "w") as tar:
        for key, (image, text) in pairs.items():
            for suffix, data in (("jpg", image), ("txt", text.encode())):
                (info := tarfile.TarInfo(f"{key}.{suffix}")).size = len(data)
                tar.addfile(info, BytesIO(data))


def main() -> int:
    """Walks all pages in a shell; 1 at the first command that fails."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as folder, desk(Path(folder)) as web:
        for where, command in ((f, c) for f in PAGES for c in commands(f)):
            if why := not_run(command):
                print(f"{where}: not run: {command}\n    {why}", flush=True)
                continue
            print(f"{where}: {command}", flush=True)
            done = subprocess.run(
                adapted(command, web), shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            if done.returncode:
                print(done.stdout.decode(), f"exit code {done.returncode}: {adapted(command, web)}", sep="\n")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
