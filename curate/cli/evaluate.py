"""The command that proves a dataset by training on it: evaluate."""

import argparse
import os
import shlex

from curate.view.look import clean


def _evaluate_options(sub: argparse.ArgumentParser, _: str | None) -> None:
    sub.add_argument(
        "sets",
        metavar="[NAME=]RUN",
        nargs="+",
        help="the sets to compare: runs, folders of tars, or tars; the first one against each of the others",
    )
    sub.add_argument(
        "--held-out",
        metavar="[NAME=]PATH",
        nargs="+",
        required=True,
        help="the samples that models are measured on: a run, a folder of tars, or a tar",
    )
    sub.add_argument(
        "-o",
        "--out",
        metavar="FOLDER",
        required=True,
        help="folder for trainings, numbers and the page; finished trainings are not repeated",
    )
    sub.add_argument(
        "--pool",
        metavar="RUN",
        help="also compare with everything that this run has fetched, and with random subsets of it as large as the first set, "
        "one for each seed (where only one set is given: that one's own)",
    )
    _training_options(sub)
    sub.set_defaults(command=evaluate)
    sub.epilog = """A held-out sample with a .txt is for retrieval: R@1 and R@5, pictures to texts and back. One with a .cls (the number of its
class), and a classnames.txt beside the tars or one folder up, is for zero-shot classification: the form in which CLIP benchmark keeps
DataComp's evaluation sets. Needs webdataset 0.2.86 and pandas: pip install 'curate-multimodal[evaluate]'.

examples:
  curate evaluate out --held-out test/ -o evaluation                     # against its own pool, and random subsets of it
  curate evaluate strict=a loose=b --held-out flickr=f30k/ in=imagenet/ --model ViT-B-32 --samples-seen 12800000 --batch-size 1024 -o evaluation
  curate run datacomp_none --pairs 'lists/*.parquet' -o raw --reuse out  # the whole pool: also what was dropped before it was fetched
  curate evaluate out --pool raw --held-out test/ -o evaluation"""


def _training_options(sub: argparse.ArgumentParser) -> None:
    train = sub.add_argument_group("training", "The same for every set; open_clip's own trainer does it.")
    train.add_argument(
        "--model",
        metavar="NAME|FILE",
        default="tiny",
        help="tiny (64 pixels, for a CPU), an architecture of open_clip, or a JSON file of its configuration",
    )
    train.add_argument(
        "--samples-seen", type=int, metavar="N", help="by each training (default: as many as the largest set has)"
    )
    train.add_argument(
        "--seeds", type=int, metavar="K", default=5, help="trainings of each set; their spread shows what is chance"
    )
    train.add_argument("--batch-size", type=int, metavar="N", default=256, help="samples in a batch")
    train.add_argument("--lr", type=float, metavar="X", default=1e-3, help="learning rate (AdamW, cosine)")
    train.add_argument(
        "--warmup", type=int, metavar="STEPS", default=100, help="steps of rising learning rate, at most a fifth of all"
    )
    train.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=max(1, (os.cpu_count() or 2) // 2),
        help="processes that load, at most a shard each",
    )
    train.add_argument(
        "--trainer",
        metavar="WORDS",
        default="",
        help='further arguments of open_clip\'s trainer, as "--grad-checkpointing --wd 0.1"',
    )


def evaluate(args: argparse.Namespace) -> int:
    from curate.extras.evaluate import evaluate as compare
    from curate.extras.evaluate.trainer import Training
    from curate.view.display import display

    how = Training(
        args.model,
        args.batch_size,
        rate=args.lr,
        warmup=args.warmup,
        workers=args.workers,
        more=tuple(shlex.split(args.trainer)),
    )
    with display() as progress:
        found = compare(args.sets, args.held_out, args.out, args.pool, args.samples_seen, args.seeds, how, progress)
    print(clean(str(found)) + "\n")
    print(os.path.join(args.out, "evaluation.html"))
    return 0


COMMANDS = {"evaluate": ("train the same small model on several sets and measure which one teaches more", _evaluate_options)}
