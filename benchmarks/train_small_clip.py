"""Trains the projection heads of the small CLIP on the demo's pairs, and measures them on captions it never saw.

    python benchmarks/train_small_clip.py                 train on tier M, print the measurements, write the heads
    python benchmarks/train_small_clip.py --measure       measure the committed heads again

The towers (EfficientNet-lite0, MiniLM) stay as they are: their features are computed once for each view of a picture and each
wording of a caption, and kept in the cache. Split by caption title (`pairs.held_out`): one title in eight, with all its styles,
is never trained on. About twenty-five minutes on two cores, nearly all of it features; the heads take two.
"""

import argparse
import hashlib
import io
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from curate.extras.demo.pairs import Pair, pairs
from curate.extras.demo.truth import auc
from curate.models import ensure_torchvision
from curate.models.packages import cache
from curate.models.small_clip import HEADS, assemble

#: Features of each picture as it is, and of this many altered views; the caption as it is, and two other wordings.
VIEWS, WORDINGS = 2, 3
EMBED, IMAGE, TEXT = 384, 1280, 384


def heads() -> nn.ModuleDict:
    """The two projections in open_clip's shapes and names: 1.57 million parameters."""
    visual = {"fc1": nn.Linear(IMAGE, 2 * EMBED), "fc2": nn.Linear(2 * EMBED, EMBED, bias=False)}
    middle = (TEXT + EMBED) // 2
    text = {"0": nn.Linear(TEXT, middle, bias=False), "2": nn.Linear(middle, EMBED, bias=False)}
    return nn.ModuleDict({"visual": nn.ModuleDict(visual), "text": nn.ModuleDict(text)})


def project(model: nn.ModuleDict, image: Tensor, text: Tensor, drop: float = 0.0) -> tuple[Tensor, Tensor]:
    """Features -> unit vectors. `drop` is the share of features and of hidden values left out in training."""

    def half(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
        x = F.gelu(first(F.dropout(x, drop, drop > 0)))
        return F.normalize(second(F.dropout(x, drop, drop > 0)), dim=-1)

    return half(image, model["visual"]["fc1"], model["visual"]["fc2"]), half(text, model["text"]["0"], model["text"]["2"])


def altered(image: Image.Image, chance: random.Random) -> Image.Image:
    """A view of a picture: cropped, mirrored, blurred by a smaller size, darkened, or on another ground, as the web has it."""
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, chance.choice(("white", "white", "black", "grey", "lightblue", "beige")))
    im = Image.alpha_composite(ground, rgba).convert("RGB")
    share = chance.uniform(0.6, 1.0)
    w, h = int(im.width * share), int(im.height * share)
    x, y = chance.randint(0, im.width - w), chance.randint(0, im.height - h)
    im = im.crop((x, y, x + w, y + h))
    if chance.random() < 0.5:
        im = im.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if chance.random() < 0.3:
        im = im.resize((max(32, im.width // 3), max(32, im.height // 3)))
    im = ImageEnhance.Color(im).enhance(chance.uniform(0.6, 1.2))
    return ImageEnhance.Brightness(im).enhance(chance.uniform(0.7, 1.1))


def views(pair: Pair) -> Iterator[Image.Image]:
    with Image.open(io.BytesIO(pair.image)) as im:
        rgba = im.convert("RGBA")
    yield Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if not pair.held_out:
        chance = random.Random(pair.id)
        for _ in range(VIEWS):
            yield altered(rgba, chance)


def wordings(pair: Pair) -> list[str]:
    """The caption, the title alone, and the title with its keywords in another order."""
    words = pair.text.removeprefix(pair.title).strip(" ()").split(", ")
    chance = random.Random(pair.id)
    return [pair.text, pair.title, f"{pair.title}, {', '.join(chance.sample(words, (len(words) + 1) // 2))}".strip(", ")]


@torch.inference_mode()
def image_features(model: nn.Module, preprocess, rows: list[Pair]) -> np.ndarray:
    """(pairs, 1 + VIEWS, 1280) float16 of the pooled trunk; altered views of held-out pairs are zero."""
    found = np.zeros((len(rows), 1 + VIEWS, IMAGE), np.float16)

    def prepared(at: int) -> list[tuple[int, int, Tensor]]:
        return [(at, v, preprocess(im)) for v, im in enumerate(views(rows[at]))]

    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(rows), 16):
            batch = [item for items in pool.map(prepared, range(first, min(first + 16, len(rows)))) for item in items]
            out = model.visual.trunk(torch.stack([x for *_, x in batch]).contiguous(memory_format=torch.channels_last))
            for (at, view, _), feature in zip(batch, out.numpy()):
                found[at, view] = feature
            if first % 1600 == 0:
                print(f"  pictures: {first} of {len(rows)}, {time.monotonic() - start:.0f} s", flush=True)
    return found


@torch.inference_mode()
def text_features(model: nn.Module, tokenizer, rows: list[Pair]) -> np.ndarray:
    """(pairs, WORDINGS, 384) float16 of the pooled transformer; each text of the pool is computed once."""
    texts = [t for row in rows for t in wordings(row)]
    unique = sorted(set(texts), key=lambda t: (len(t), t))
    found: dict[str, np.ndarray] = {}
    for first in range(0, len(unique), 128):
        batch = unique[first : first + 128]
        tokens = tokenizer(batch)
        tokens = tokens[:, : int((tokens != 0).sum(1).max())]
        mask = (tokens != 0).long()
        out = model.text.pooler(model.text.transformer(input_ids=tokens, attention_mask=mask), mask)
        found |= dict(zip(batch, out.numpy().astype(np.float16)))
    return np.stack([found[t] for t in texts]).reshape(len(rows), WORDINGS, TEXT)


def features(rows: list[Pair], name: str) -> tuple[Tensor, Tensor]:
    """Features of both towers, from the cache if they are there."""
    digest = hashlib.sha256(repr([(r.id, r.text, hashlib.sha256(r.image).hexdigest()) for r in rows]).encode()).hexdigest()[:12]
    file = cache() / "features" / f"{digest}-{VIEWS}-{WORDINGS}.npz"
    if not file.exists():
        import open_clip

        model, _, preprocess = open_clip.create_model_and_transforms(name)
        model = model.eval().to(memory_format=torch.channels_last)
        image = image_features(model, preprocess, rows)
        text = text_features(model, open_clip.get_tokenizer(name), rows)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, image=image, text=text)
    with np.load(file) as held:
        return torch.from_numpy(held["image"]).float(), torch.from_numpy(held["text"]).float()


def train(
    image: Tensor, text: Tensor, titles: Tensor, sources: Tensor, options: argparse.Namespace
) -> tuple[nn.ModuleDict, float]:
    """Contrastive training of the heads (CLIP's loss). Returns them and the logit scale.

    Half of the batches come from one source, whose pictures look alike: those are the pairs that are hard to tell apart.
    Pictures with the same title are no negatives of each other.
    """
    torch.manual_seed(options.seed)
    chance, model = np.random.default_rng(options.seed), heads()
    scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim < 2] + [scale]
    groups = [{"params": matrices, "weight_decay": options.decay}, {"params": rest, "weight_decay": 0.0}]
    steps = options.epochs * len(image) // options.batch
    optimiser = torch.optim.AdamW(groups, lr=options.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=steps, pct_start=0.1)
    members = [np.flatnonzero(sources.numpy() == s) for s in range(int(sources.max()) + 1)]
    shares = np.array([len(m) for m in members]) / len(image)
    for step in range(steps):
        pool = members[chance.choice(len(members), p=shares)] if step % 2 else np.arange(len(image))
        at = chance.choice(pool, min(options.batch, len(pool)), replace=False)
        view, wording = chance.integers(0, image.shape[1], len(at)), chance.integers(0, text.shape[1], len(at))
        a, b = project(model, image[at, view], text[at, wording], options.drop)
        same = (titles[at][:, None] == titles[at][None]) & ~torch.eye(len(at), dtype=torch.bool)
        logits = (scale.exp().clamp(max=100) * a @ b.T).masked_fill(same, float("-inf"))
        target = torch.arange(len(at))
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval(), float(scale)


@torch.inference_mode()
def measure(model: nn.ModuleDict, image: Tensor, text: Tensor, rows: list[Pair], seen: Tensor) -> dict[str, float]:
    """On held-out rows: AUC of own against shuffled captions, within each source and overall; recall at 1; the best cut.

    `strict` leaves out pictures that resemble one seen in training (cosine of the trunk's features of 0.9 or more).
    """
    a, b = project(model, image[:, 0], text[:, 0])
    strange = np.concatenate(
        [
            (F.normalize(part, dim=-1) @ F.normalize(seen, dim=-1).T).max(1).values.numpy() < 0.9
            for part in image[:, 0].split(256)
        ]
    )
    own, found = (a * b).sum(-1).numpy(), {}
    source, titles = np.array([r.source for r in rows]), [r.title.lower() for r in rows]
    other = np.stack([shuffled(source, titles, seed) for seed in range(20)])
    false = np.stack([(a * b[turn]).sum(-1).numpy() for turn in other])
    within = 0.0
    for name in sorted(set(source)):
        of = source == name
        found[f"auc {name} ({of.sum()})"] = auc(own[of], false[:, of].ravel())
        within += of.mean() * found[f"auc {name} ({of.sum()})"]
    found["auc within source"] = within
    found["auc strict"] = auc(own[strange], false[:, strange].ravel())
    found["strict rows"] = float(strange.sum())
    found["auc pooled"] = auc(own, false.ravel())
    best = (a @ b.T).argmax(1).numpy()
    found["recall at 1"] = float(np.mean([rows[i].text == rows[int(j)].text for i, j in enumerate(best)]))
    cuts = np.linspace(-0.2, 0.8, 201)
    right = [((own >= c).mean() + (false < c).mean()) / 2 for c in cuts]
    return found | {
        "mean own": own.mean(),
        "mean shuffled": false.mean(),
        "best cut": cuts[int(np.argmax(right))],
        "balanced accuracy": max(right),
    }


def shuffled(source: np.ndarray, titles: list[str], seed: int) -> np.ndarray:
    """For each row another row of the same source with another title."""
    chance, other = np.random.default_rng(seed), np.arange(len(source))
    for name in sorted(set(source)):
        of = np.flatnonzero(source == name)
        for i in of:
            j = i
            while titles[j] == titles[i]:
                j = chance.choice(of)
            other[i] = j
    return other


def save(model: nn.ModuleDict, scale: float, file: Path) -> None:
    """The heads under open_clip's names, float16."""
    names = {"visual.fc1": "visual.head.mlp.fc1", "visual.fc2": "visual.head.mlp.fc2"}
    tensors = {}
    for name, tensor in model.state_dict().items():
        layer, kind = name.rsplit(".", 1)
        tensors[f"{names.get(layer, layer.replace('text.', 'text.proj.'))}.{kind}"] = tensor.half().contiguous()
    save_file(tensors | {"logit_scale": torch.tensor(scale).half()}, file)


def load(file: Path) -> nn.ModuleDict:
    model, held = heads(), load_file(file)
    names = {n: n.replace("visual.", "visual.head.mlp.").replace("text.", "text.proj.") for n in model.state_dict()}
    model.load_state_dict({ours: held[theirs].float() for ours, theirs in names.items()})
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", default="M")
    parser.add_argument("--measure", action="store_true", help="measure the committed heads; train nothing")
    parser.add_argument("--out", type=Path, default=HEADS / "heads.safetensors")
    for name, value in {"epochs": 15, "batch": 1024, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in {"rate": 2e-3, "decay": 0.1, "drop": 0.3}.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    options = parser.parse_args()
    ensure_torchvision()
    rows, _ = pairs(options.tier)
    image, text = features(rows, towers(options.out))
    unseen = np.array([r.held_out for r in rows])
    titles, sources = numbered([r.title.lower() for r in rows]), numbered([r.source for r in rows])
    if not options.measure:
        start = time.monotonic()
        model, scale = train(image[~unseen], text[~unseen], titles[~unseen], sources[~unseen], options)
        print(f"trained on {(~unseen).sum()} pairs in {time.monotonic() - start:.0f} s; logit scale {np.exp(scale):.1f}")
        save(model, scale, options.out)
    found = measure(load(options.out), image[unseen], text[unseen], [r for r in rows if r.held_out], image[~unseen, 0])
    print(f"held out: {unseen.sum()} pairs, {len({r.title for r in rows if r.held_out})} titles")
    for name, value in found.items():
        print(f"  {name:28} {value:8.3f}")
    if found["auc within source"] < 0.88:
        raise SystemExit("the AUC within sources is below 0.88")


def numbered(names: list[str]) -> Tensor:
    number = {name: i for i, name in enumerate(sorted(set(names)))}
    return torch.tensor([number[name] for name in names])


def towers(heads_file: Path) -> str:
    """A model to take the towers from: its heads do not matter, and there may be none yet."""
    if not heads_file.exists():
        save(heads(), float(np.log(1 / 0.07)), heads_file)
    return assemble(heads_file)[0]


if __name__ == "__main__":
    main()
