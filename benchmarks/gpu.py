"""Models kept busy: whole runs of `curate run` from a pool of pictures to committed columns, beside plain loops and the bare model.

    python -m benchmarks.gpu [--quick] [--only decode fidelity bare loop whole stand_in] [--models ViT-B-32 ViT-L-14] [--images 12000]

Prints one JSON object a line; on one card with 16 cores all of it takes under five minutes. Weights are random, but for `small`, the
small CLIP of the demo, which is the model without a card. `--quick`: few pictures, for a CPU.

decode    pictures/s of one core, 640x480 JPEGs to 224x224: Pillow, simplejpeg and OpenCV with a resize of theirs, and curate's decoders
fidelity  cosines and differences of scores between what runs embed and open_clip's own transform, over crops of photographs
bare      images/s and texts/s of the forward pass alone, by batch; on cores, of a second of CPU time
loop      a plain loop: Pillow, open_clip's transform, texts padded to the context; on a card in a DataLoader with a worker a core
whole     `curate run` over the same pool, on both engines: wall and CPU seconds, memory, share of its time in which the model waited, and
          how busy the card was (nvidia-smi); ratios to loop and bare
stand_in  a model that takes a fixed time for each picture and no core: the share of the time in which it was at work, from JPEG, PNG and
          WebP, from the disk and from an S3-compatible server with 30 ms for each request, on both engines
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.tree import Used, watch
from curate.cli.rates import pictures

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """
from curate import Recipe
from curate.fetch.stage import Fetch
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_score import ClipScore


def recipe(source, model: str = "small"):
    return Recipe(source, [Fetch(), ClipEmbed(model=model), ClipScore()], shards=None)
"""


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def pool(folder: Path, images: int, per_tar: int = 2000) -> Path:
    """Tars of 640x480 JPEGs of about 110 kB, no two with the same bytes, with captions of ten words."""
    files = pictures(64)
    folder.mkdir()
    for first in range(0, images, per_tar):
        with tarfile.open(folder / f"{first // per_tar:05d}.tar", "w") as tar:
            for n in range(first, min(images, first + per_tar)):
                words = f"a photograph of pattern number {n} on a white wall".encode()
                for name, data in (("jpg", files[n % 64] + n.to_bytes(4, "big")), ("txt", words)):
                    (info := tarfile.TarInfo(f"{n:08d}.{name}")).size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


def model_name(model: str, folder: Path) -> str:
    """What curate calls the model: an architecture gets random weights in a file."""
    if model == "small":
        return model
    from safetensors.torch import save_model

    from curate.models.files import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch

    path = folder / f"{model}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        save_model(open_clip.create_model(model, pretrained=None), str(path))
    return f"{model}:{path}"


def rate(work: Callable[[], object], count: int, seconds: float = 2.0, clock: Callable[[], float] = time.perf_counter) -> float:
    """Of several rounds that take so long, after one that warms up."""
    work()
    rounds, began = 0, clock()
    while not rounds or clock() - began < seconds:
        work()
        rounds += 1
    return count * rounds / (clock() - began)


# ---- parts


def decode() -> Iterator[dict]:
    import cv2
    import simplejpeg
    from PIL import Image

    from curate.fetch.decoders import Decoders, DecodeTime
    from curate.preprocess import Preprocess

    files, wanted, cores = pictures(32), Preprocess(224), len(os.sched_getaffinity(0))
    cv2.setNumThreads(1)
    ways: dict[str, Callable[[bytes], object]] = {
        "Pillow": lambda b: wanted(np.asarray(Image.open(io.BytesIO(b)).convert("RGB"))),
        "simplejpeg": lambda b: wanted(simplejpeg.decode_jpeg(b)),
        "OpenCV, area": lambda b: cv2.resize(
            cv2.imdecode(np.frombuffer(b, np.uint8), 1), (224, 224), interpolation=cv2.INTER_AREA
        ),
    }
    for way, one in ways.items():
        yield {"part": "decode", "by": way, "images/s": rate(lambda one=one: [one(f) for f in files], len(files))}
    for n in sorted({1, cores}):
        with Decoders(n) as decoders:
            found = rate(lambda d=decoders: d.decode(files * n, (wanted,), DecodeTime(1e9)), len(files) * n)  # noqa: B023
        yield {"part": "decode", "by": "curate, in children", "cores": n, "images/s": found}


def photographs() -> list[bytes]:
    """Crops of the photographs in two packages, as JPEGs of many sizes, qualities and subsamplings."""
    from PIL import Image

    from curate.models.packages import fetch

    folders, rng, found = fetch(("skimage", "sklearn")).folders.values(), np.random.default_rng(0), []
    for path in sorted(p for f in folders for kind in ("*.jpg", "*.png") for p in f.rglob(kind)):
        with Image.open(path) as picture:
            if min(picture.size) < 300 or picture.mode != "RGB":
                continue
            for _ in range(6):
                (w, h), (x, y) = [int(s * rng.uniform(0.55, 1)) for s in picture.size], rng.uniform(0, 1, 2)
                left, top = int(x * (picture.width - w)), int(y * (picture.height - h))
                crop = picture.crop((left, top, left + w, top + h))
                crop = crop.resize((2 * w, 2 * h), Image.Resampling.LANCZOS) if rng.random() < 0.5 else crop
                crop.save(out := io.BytesIO(), "JPEG", quality=int(rng.integers(75, 96)), subsampling=int(rng.integers(3)))
                found.append(out.getvalue())
    return found


def fidelity() -> Iterator[dict]:
    from PIL import Image

    from curate.fetch.pixels import decode as decoded
    from curate.models import clip
    from curate.preprocess import FACTOR

    model, files = clip("small"), photographs()
    theirs = [model.transform(Image.open(io.BytesIO(f)).convert("RGB")) for f in files]
    texts = model.encode_texts(
        ["a photo of a cat", "a rocket", "a temple", "a flower", "a cup of coffee", "an eye", "stars", "a face"]
    )
    before = np.concatenate([model._forward(model.image_tower, t[None]).numpy() for t in theirs])
    for factor in sorted({1, 1.5, FACTOR}):
        least = round(factor * model.preprocess.size)
        found = model.encode_images(model.preprocess.batch([decoded(f, least=least) for f in files]))
        cosine, moved = (found * before).sum(1), np.abs((found - before) @ texts.T)
        yield {
            "part": "fidelity",
            "decoded at": f"{factor} x the model's size",
            "pictures": len(files),
            "cosine, mean": cosine.mean(),
            "cosine, lowest twentieth": np.quantile(cosine, 0.05),
            "cosine, min": cosine.min(),
            "score moved by, mean": moved.mean(),
            "score moved by, max": moved.max(),
        }


def bare(name: str, quick: bool) -> Iterator[dict]:
    """On cores a second is one of CPU time, so that a loaded machine gives the same."""
    import torch

    from curate.models import clip

    model, clock = clip(name), time.perf_counter if cuda() else time.process_time
    for batch in (256, 512, 1024) if cuda() else (8,) if quick else (64,):
        pixels = model.normalize(np.zeros((batch, model.preprocess.size, model.preprocess.size, 3), np.uint8))
        tokens = model.tokenize(["a photograph of pattern number 5 on a white wall"] * batch)
        from curate.models.clip import trim_padding

        tokens = (trim_padding(tokens) if model.trims else tokens).to(model.device)
        with torch.inference_mode():
            rates = [
                rate(lambda tower=tower, given=given: tower(given).cpu(), batch, clock=clock)
                for tower, given in ((model.image_tower, pixels), (model.text_tower, tokens))
            ]
        yield {"part": "bare", "model": name.split(":")[0], "batch": batch, "images/s": rates[0], "texts/s": rates[1]}


LOOP = """
import io, sys, tarfile
import numpy as np, torch
from curate.models.clip_names import located
from curate.models.files import ensure_torchvision
ensure_torchvision()
import open_clip
from PIL import Image
name, workers, *tars = sys.argv[1:]
found, card = located(name), torch.cuda.is_available()
model, _, transform = open_clip.create_model_and_transforms(
    found.architecture, pretrained=str(found.file) if found.file else None, device="cuda" if card else "cpu")
model.eval()
tokenize = open_clip.get_tokenizer(found.architecture)

class Pairs(torch.utils.data.Dataset):
    def __init__(self):
        self.rows = []
        for path in tars:
            with tarfile.open(path) as tar:
                members = [(m.offset_data, m.size) for m in tar]
            self.rows += [(path, *image, *text) for image, text in zip(members[::2], members[1::2])]
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, i):
        path, at, size, text_at, text_size = self.rows[i]
        with open(path, "rb") as file:
            file.seek(at); image = file.read(size)
            file.seek(text_at); text = file.read(text_size).decode()
        return transform(Image.open(io.BytesIO(image)).convert("RGB")), tokenize([text])[0]

kept = []
loader = torch.utils.data.DataLoader(Pairs(), batch_size=256 if card else 64, num_workers=int(workers), pin_memory=card)
with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=card):
    for images, texts in loader:
        if card:
            images, texts = images.cuda(non_blocking=True), texts.cuda(non_blocking=True)
        kept.append([torch.nn.functional.normalize(f.float(), dim=-1).half().cpu().numpy()
                     for f in (model.encode_image(images), model.encode_text(texts))])
"""


def loop(folder: Path, name: str, images: int) -> Iterator[dict]:
    tars = [str(p) for p in sorted((folder / "pool").glob("*.tar"))]
    workers = str(len(os.sched_getaffinity(0)) if cuda() else 0)
    used = watch([sys.executable, "-c", LOOP, name, workers, *tars], folder / "log", cwd=ROOT)
    yield {"part": "loop", "model": name.split(":")[0], **figures(used, images, folder / "log")}


def whole(folder: Path, name: str, engine: str, images: int) -> Iterator[dict]:
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    (folder / "embed.py").write_text(RECIPE)
    options = ["-o", str(out), "--engine", engine, "--part-size", "2000", "--pool", str(folder / "pool"), "--model", name]
    with card_use() as use:
        used = watch([sys.executable, "-m", "curate.cli", "run", str(folder / "embed.py"), *options], folder / "log", cwd=ROOT)
    line = {"part": "whole", "model": name.split(":")[0], "engine": engine, **figures(used, images, folder / "log")}
    pace = json.loads((out / "recipe.json").read_text())["counters"]["clip_embed"]
    line |= {"model waited": pace["waited"] / (pace["busy"] + pace["waited"]), "cores": pace["cores"], "batch": pace["batch"]}
    line |= {"images/s while the model had work": pace["computed"] / (pace["busy"] + pace["waited"])}
    yield line | ({"card busy, mean %": float(np.mean(use))} if use else {})


def figures(used: Used, images: int, log: Path) -> dict:
    if used.code:
        raise SystemExit(log.read_text()[-2000:])
    return {"images/s": images / used.wall, "wall s": used.wall, "CPU s": used.cpu, "memory MB": used.memory}


@contextmanager
def card_use() -> Iterator[list[int]]:
    """Percent of the time in which the first card is at work, every half second, for as long as there is any; empty without one."""
    found, over = [], threading.Event()
    ask = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]

    def look() -> None:
        while shutil.which(ask[0]) and not over.wait(0.5):
            percent = int(subprocess.run(ask, capture_output=True, text=True, check=True).stdout)
            found.extend([percent] if percent or found else [])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        while found and not found[-1]:
            found.pop()


def stand_in(folder: Path, images: int) -> Iterator[dict]:
    """The model and the server of the tests."""
    sys.path.insert(0, str(ROOT / "tests"))
    import object_server
    import pytest
    import stand_in as model

    from curate.runner.driver import run
    from curate.store.atomic import Store

    kept = model.pool(folder / "formats", images, tars=4)
    with pytest.MonkeyPatch.context() as patch, object_server.serving(patch) as server:
        remote = Store("s3://pictures/pool")
        remote.fs.mkdir("pictures")
        remote.fs.put(kept, remote.root, recursive=True)
        server.delay = 0.03
        for engine in ("local", "ray"):
            for source, where in ((kept, "disk"), (remote.url, "S3, 30 ms a request")):
                out = folder / f"stand-in-{engine}-{len(source)}"
                done = run(model.recipe(source), str(out), engine=engine, part_size=images // 8)
                yield {"part": "stand_in", "engine": engine, "from": where, "busy": model.busy(done), "images": images}


def main() -> None:
    parts = ["decode", "fidelity", "bare", "loop", "whole", "stand_in"]
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="few pictures, for a CPU")
    options.add_argument("--only", nargs="+", choices=parts, default=parts, help="these parts")
    options.add_argument("--models", nargs="+", default=["ViT-L-14", "ViT-B-32"] if cuda() else ["small"])
    options.add_argument("--images", type=int, default=0)
    options.add_argument("--engines", nargs="+", default=["ray", "local"])
    args = options.parse_args()
    images = args.images or (320 if args.quick else 12_000 if cuda() else 1_280)
    with tempfile.TemporaryDirectory(prefix="curate-gpu-") as name:
        folder = Path(name)
        pool(folder / "pool", images)
        for line in lines(args, folder, images):
            print(
                json.dumps({k: float(f"{v:.4g}") if isinstance(v, (float, np.floating)) else v for k, v in line.items()}),
                flush=True,
            )


def lines(args: argparse.Namespace, folder: Path, images: int) -> Iterator[dict]:
    import torch

    device = torch.cuda.get_device_name() if cuda() else "cpu"
    yield {"device": device, "torch": torch.__version__, "cores": len(os.sched_getaffinity(0)), "images": images}
    for part, work in (("decode", decode), ("fidelity", fidelity)):
        if part in args.only:
            yield from work()
    for model in args.models:
        name = model_name(model, folder)
        for part, work in (
            ("bare", lambda name=name: bare(name, args.quick)),
            ("loop", lambda name=name: loop(folder, name, images)),
        ):
            if part in args.only:
                yield from work()
        for engine in args.engines if "whole" in args.only else ():
            yield from whole(folder, name, engine, images)
    if "stand_in" in args.only:
        yield from stand_in(folder, 1024)


if __name__ == "__main__":
    main()
