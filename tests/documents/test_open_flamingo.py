"""OpenFlamingo's own training loader reads an exported run, and each image meets the text that it was matched with."""

import importlib.util
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from page_web import page, sentence, serving, warc
from PIL import Image

from curate.cli import main
from curate.fetch.shared import once
from curate.fetch.stage import Fetch
from curate.models import ensure_torchvision
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.sources.web_pages import WebPages

torch = pytest.importorskip("torch")
found = importlib.util.find_spec("open_flamingo")
pytestmark = pytest.mark.skipif(found is None, reason="pip install --no-deps open-flamingo braceexpand")
PLACE = "<image>"


class Words:
    """A tokenizer of whole words, with what the loader asks of one."""

    eos_token, additional_special_tokens, additional_special_tokens_ids = "<eos>", [PLACE, "<|endofchunk|>"], [0, 1]

    def __init__(self):
        self.known = {PLACE: 0, "<|endofchunk|>": 1, "<eos>": 2, "": 3}

    def __call__(self, text, max_length, **options):
        for token in (*self.additional_special_tokens, self.eos_token):
            text = text.replace(token, f" {token} ")
        ids = [self.known.setdefault(w, len(self.known)) for w in text.split()][:max_length]
        ids += [3] * (max_length - len(ids))
        return {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, max_length)}


@pytest.fixture
def loader(monkeypatch):
    """The package's training data module, which imports its neighbours as if it ran in its folder."""
    ensure_torchvision()
    folder = Path(found.submodule_search_locations[0]) / "train"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location("open_flamingo_data", folder / "data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("data_utils", None)


def coloured(n: int, side: int = 200) -> bytes:
    """A colour of its own under noise, because the loader wants more than ten kilobytes."""
    colour = np.array([n * 37 % 200, n * 91 % 200, n * 13 % 200]) + 20
    out = io.BytesIO()
    noise = np.random.default_rng(n).integers(-20, 20, (side, side, 3))
    Image.fromarray((colour + noise).astype(np.uint8)).save(out, "JPEG", quality=95)
    return out.getvalue()


def test_its_loader_pairs_every_image_with_its_text(loader, tmp_path):
    count, files = 6, {f"/{n}-{k}.jpg": coloured(10 * n + k) for n in range(6) for k in range(3)}
    with serving(files) as (address, _):
        pages = [
            (
                f"http://site.example/{n}",
                page([f"{address}/{n}-{k}.jpg" for k in range(3)], [f"page{n}text{k} " + sentence(k, 8) for k in range(3)]),
                "2025-03-01T10:00:00Z",
            )
            for n in range(count)
        ]
        (tmp_path / "a.warc.gz").write_bytes(warc(pages))
        fetch = Fetch(allow_private=("127.0.0.0/8",), robots=False, retries=0, rate=0, image_size=None)
        run(
            Recipe(WebPages(str(tmp_path / "a.warc.gz")), [*once(fetch)], shards=Shards(size=3), name="flamingo"),
            str(tmp_path / "run"),
            engine="local",
        )
    assert main(["export", str(tmp_path / "run"), "--format", "openflamingo", "-o", str(tmp_path / "tars")]) == 0
    known = {tuple(mean(Image.open(io.BytesIO(data)))): name[1:-4] for name, data in files.items()}
    words = Words()
    args = SimpleNamespace(
        mmc4_shards=str(tmp_path / "tars" / "{00000..00001}.tar"),
        train_num_samples_mmc4=count,
        batch_size_mmc4=1,
        mmc4_textsim_threshold=0.24,
        mmc4_min_num_images=1,
        mmc4_max_num_images=6,
        seed=1,
        workers=1,
        world_size=1,
    )
    pipeline = (
        loader.get_mmc4_dataset(args, image_processor=lambda i: torch.tensor(mean(i)).reshape(3, 1, 1), tokenizer=words)
        .dataloader.pipeline[0]
        .dataset
    )
    met = {}
    for images, ((ids, _),) in pipeline:
        said = [next(w for w, i in words.known.items() if i == t) for t in ids[0].tolist()]
        places = [i for i, w in enumerate(said) if w == PLACE]
        for at, image in zip(places, images[0]):
            colour = min(known, key=lambda c: abs(np.array(c) - image.flatten().numpy()).sum())
            met[known[colour]] = next(w for w in said[at:] if w not in words.additional_special_tokens)
    # The image stands after its paragraph; the text that it is matched with is the next one, or the last of the page.
    assert met == {f"{n}-{k}": f"page{n}text{min(k + 1, 2)}" for n in range(count) for k in range(3)}


def mean(image) -> list[float]:
    return np.asarray(image.convert("RGB"), np.float32).mean((0, 1)).tolist()
