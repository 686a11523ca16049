"""Trains the small captioner on the demo's pairs, and measures it on pictures whose titles it never saw.

    python -m benchmarks.train_small_captioner            train on tier M, print the measurements, write the weights
    python -m benchmarks.train_small_captioner --measure  measure the committed weights again

The picture tower is the small CLIP's, as it is; its features are those that `train_small_clip.py` keeps in the cache. The split
is the same: one title in eight, with all its styles, is never trained on. Training takes about five minutes on two cores.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from benchmarks.cider import cider
from benchmarks.train_small_clip import features
from curate.extras.demo.pairs import Pair, pairs
from curate.models import ensure_torchvision
from curate.models.small_clip import small_clip
from curate.synth.captioners import Decoding
from curate.synth.captioners.decode import beam, draw
from curate.synth.captioners.local import SMALL
from curate.synth.captioners.small import END, LONGEST, PAD, START, Decoder, Words, load, plain_words

#: Words and pieces of the vocabulary; tokens of a caption in training.
VOCABULARY, TOKENS = 2500, 8


def vocabulary(titles: list[str]) -> Words:
    """Words and pieces (WordPiece) of the titles."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=["[PAD]", "[START]", "[END]", "[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(plain_words(t)) for t in titles], trainer)
    return Words([w for w, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])])


def encoded(titles: list[str], words: Words) -> Tensor:
    """(titles, TOKENS + 2) with START, END and padding."""
    rows = torch.full((len(titles), TOKENS + 2), PAD)
    for row, title in zip(rows, titles):
        tokens = [START, *words.tokens(title)[:TOKENS], END]
        row[: len(tokens)] = torch.tensor(tokens)
    return rows


def worth(rows: list[Pair]) -> np.ndarray:
    """How often a pair is drawn: a title that many pairs share less often each, clip art half as often (its titles are file
    names)."""
    counts = Counter(r.title.lower() for r in rows)
    return np.array([(0.5 if r.source == "clipart" else 1.0) / counts[r.title.lower()] ** 0.5 for r in rows])


def train(image: Tensor, text: Tensor, chances: np.ndarray, size: int, options: argparse.Namespace) -> Decoder:
    """Next-token training (cross entropy, labels smoothed by 0.1) on all views of the pictures."""
    torch.manual_seed(options.seed)
    chance, model = np.random.default_rng(options.seed), Decoder(size, options.drop)
    steps = options.epochs * len(image) // options.batch
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=options.decay, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        at = chance.choice(len(image), options.batch, p=chances / chances.sum())
        rows = text[at]
        logits = model(rows[:, :-1], model.prefix(image[at, chance.integers(0, image.shape[1], len(at))]))
        loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"  step {step} of {steps}, loss {loss.item():.3f}", flush=True)
    return model.eval()


@torch.inference_mode()
def captions(model: Decoder, words: Words, image: Tensor, decoding: Decoding) -> list[str]:
    found = []
    for part in image.split(256):
        prefix = model.prefix(part)

        def step(tokens: Tensor, rows: Tensor, prefix: Tensor = prefix) -> Tensor:
            return model(tokens, prefix[rows])[:, -1]

        if decoding.beams > 1:
            tokens = beam(step, len(part), words.marks, decoding)
        else:
            tokens = draw(step, list(range(len(part))), words.marks, decoding)
        found += [words.spell([t for t in row if t != END]) for row in tokens]
    return found


def rivals(rows: list[Pair], seen: list[Pair], made: list[str], seed: int = 0) -> dict[str, list[str]]:
    """What the captions are measured against: the most frequent title, of all and of the source; our captions and true ones,
    shuffled."""
    chance = np.random.default_rng(seed)
    of_all = Counter(" ".join(plain_words(r.title)) for r in seen).most_common(1)[0][0]
    of_source = {
        s: Counter(" ".join(plain_words(r.title)) for r in seen if r.source == s).most_common(1)[0][0]
        for s in {r.source for r in rows}
    }
    turn = chance.permutation(len(rows))
    return {
        "most frequent title": [of_all] * len(rows),
        "most frequent title of its source": [of_source[r.source] for r in rows],
        "ours, shuffled": [made[i] for i in turn],
        "true titles, shuffled": [rows[i].title for i in turn],
    }


def clip_scores(image: Tensor, texts: list[str]) -> np.ndarray:
    """Cosine in the small CLIP of pictures (by their features) and texts."""
    from curate.models import clip

    small = clip("small")
    with torch.inference_mode():
        vectors = F.normalize(small.model.visual.head(image), dim=-1).numpy()
    return (vectors * small.encode_texts(texts)).sum(1)


def report(rows: list[Pair], seen: list[Pair], image: Tensor, made: dict[str, list[str]]) -> bool:
    """Print CIDEr and CLIP score of captions and rivals; True if the captions beat all rivals in both."""
    references = [[" ".join(plain_words(r.title)), " ".join(plain_words(r.text))] for r in rows]
    greedy = made["greedy"]
    entries = made | rivals(rows, seen, greedy) | {"true titles": [r.title for r in rows]}
    print(f"{'held-out pictures: ' + str(len(rows)):36} {'CIDEr':>7} {'CLIP':>7} {'word hit':>9}")
    found = {}
    for name, texts in entries.items():
        hit = np.mean([bool(set(plain_words(t)) & set(plain_words(r.title))) for t, r in zip(texts, rows)])
        found[name] = (cider(texts, references), float(clip_scores(image, texts).mean()))
        print(f"{name:36} {found[name][0]:7.3f} {found[name][1]:7.3f} {hit:9.3f}")
    for row, text in list(zip(rows, greedy))[:: len(rows) // 24]:
        print(f"  {row.source:10} {row.title[:40]:42} {text}")
    others = [v for n, v in found.items() if n not in made and n != "true titles"]
    return all(found["greedy"][k] > max(o[k] for o in others) for k in (0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", default="M")
    parser.add_argument("--measure", action="store_true", help="measure the committed weights; train nothing")
    parser.add_argument("--out", type=Path, default=SMALL / "captioner.safetensors")
    for name, value in {"epochs": 16, "batch": 128, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in {"rate": 1.5e-3, "decay": 0.1, "drop": 0.3}.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    options = parser.parse_args()
    ensure_torchvision()
    rows, _ = pairs(options.tier)
    image, _ = features(rows, small_clip()[0])
    unseen = np.array([r.held_out for r in rows])
    seen = [r for r in rows if not r.held_out]
    if not options.measure:
        start, words = time.monotonic(), vocabulary([r.title for r in seen])
        text = encoded([r.title for r in seen], words)
        model = train(image[~unseen], text, worth(seen), len(words.words), options)
        print(
            f"trained on {len(seen)} pairs in {time.monotonic() - start:.0f} s, "
            f"{sum(p.numel() for p in model.parameters()):,} parameters"
        )
        weights = {name: p.half().contiguous() for name, p in model.state_dict().items()}
        save_file(weights, options.out, {"words": json.dumps(words.words, ensure_ascii=False)})
    model, words = load(str(options.out))
    held = [r for r in rows if r.held_out]
    ways = {
        "greedy": Decoding(max_tokens=LONGEST),
        "beam of 3": Decoding(beams=3, max_tokens=LONGEST),
        "nucleus 0.9": Decoding(temperature=1.0, top_p=0.9, max_tokens=LONGEST),
    }
    made = {name: captions(model, words, image[unseen, 0], how) for name, how in ways.items()}
    if not report(held, seen, image[unseen, 0], made):
        sys.exit("the captions do not beat their rivals")


if __name__ == "__main__":
    main()
