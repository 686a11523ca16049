"""What semantic dedup keeps a GPU busy with: FAISS and comparing within clusters. Prints one JSON object a line.

    python benchmarks/gpu_dedup.py [--tiny] [--only kmeans blocks] [--vectors 1000000 10000000]

Made to run on a bare machine: it needs torch and numpy; what else a part needs (faiss-gpu) is looked for, and the part says what is
missing. `--tiny` proves on a CPU that every line runs; its figures mean nothing.

matmul   the card's rate of large bf16 products: what the others are shares of
kmeans   FAISS k-means (spherical, 20 iterations, k = sqrt(2 n), as semantic dedup has it) at D = 512: share of the matmul rate
blocks   comparing within clusters, as semantic dedup does it on the card: vectors come from a file, are compared in float32, pairs go back;
         beside the bare products of the same blocks that lie ready, in float32 and bf16: shares of the matmul rates
"""

import argparse
import importlib.util
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


def needs(*packages: str) -> str | None:
    """What is missing of these, as a reason; None if all are there."""
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    return f"{', '.join(missing)} not installed" if missing else None


def wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The median of a few rounds, after one that warms up."""
    work()
    taken = []
    for _ in range(rounds):
        wait()
        start = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def matmul(tiny: bool, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations a second of a large product, two a multiply-add."""
    n = 512 if tiny else 8192
    a, b = (torch.randn(n, n, device=DEVICE, dtype=dtype) for _ in range(2))
    rounds = 2 if tiny else 20

    def work() -> None:
        for _ in range(rounds):
            a @ b

    return 2 * n**3 * rounds / seconds(work)


# ---- FAISS


def vectors(n: int, d: int = 512) -> np.ndarray:
    """A mixture with copies: float32, unit length, 15 % of the rows near another one."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(16, n // 2000), d)).astype(np.float32)
    found = np.empty((n, d), np.float32)
    for start in range(0, n, 100_000):
        rows = min(100_000, n - start)
        found[start : start + rows] = centres[rng.integers(len(centres), size=rows)] + 0.7 * rng.standard_normal(
            (rows, d), dtype=np.float32
        )
    copies = rng.choice(n, size=int(0.15 * n), replace=False)
    found[copies] = found[rng.integers(n, size=len(copies))] + 0.01 * rng.standard_normal((len(copies), d), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def kmeans(n: int, peak: float) -> Iterator[dict]:
    from curate.dedup.vectors import train

    k = round((2 * n) ** 0.5)
    points = vectors(min(n, 64 * k))
    taken = seconds(lambda: train(points, k, seed=0, rounds=20), rounds=1)
    work = 2 * len(points) * k * points.shape[1] * 20
    yield {
        "part": "kmeans",
        "vectors": n,
        "k": k,
        "points": len(points),
        "seconds": taken,
        "share of matmul": work / taken / peak,
    }


def blocks(n: int, peak: float) -> Iterator[dict]:
    """Pairs within clusters: what semantic dedup's tasks take, and what the bare products of the same blocks take."""
    from curate.dedup.semantic import compared, tasks

    found, k = vectors(n).astype(np.float16), round((2 * n) ** 0.5)
    home = np.random.default_rng(1).integers(k, size=n)
    members, sizes = np.argsort(home, kind="stable"), np.bincount(home, minlength=k)
    with tempfile.TemporaryDirectory() as folder:
        parts = {"vectors": found, "rows": np.arange(n), "members": members, "offsets": np.concatenate([[0], np.cumsum(sizes)])}
        for name, part in (parts | {"asked": np.ones(n, bool), "alive": np.ones(n, bool)}).items():
            np.save(Path(folder) / f"{name}.npy", part)
        items = [(folder, low, high, 0.95, True, 2048, DEVICE) for low, high in tasks(sizes)]
        taken = seconds(lambda: sum(len(pairs[0]) for pairs in compared(items)), rounds=1)
    ready = torch.from_numpy(found[members]).to(DEVICE)
    for dtype in (torch.float32, torch.bfloat16):
        given = ready.to(dtype)

        def work(given: torch.Tensor = given) -> int:
            hits = torch.zeros((), dtype=torch.int64, device=DEVICE)
            for a, b in itertools.pairwise(parts["offsets"].tolist()):
                hits += (given[a:b] @ given[a:b].T > 0.95).sum()
            return int(hits)

        alone, rate = seconds(work, rounds=1), peak if dtype == torch.bfloat16 else matmul(n < 10_000, dtype)
        operations = 2 * int((sizes.astype(np.int64) ** 2).sum()) * found.shape[1]
        yield {
            "part": "blocks",
            "vectors": n,
            "clusters": k,
            "curate vectors/s": n / taken,
            "bare products": str(dtype),
            "bare vectors/s": n / alone,
            "share of matmul, bare": operations / alone / rate,
            "share of matmul, curate": operations / taken / rate,
        }


def main() -> None:
    parts = ["matmul", "kmeans", "blocks"]
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tiny", action="store_true", help="everything as small as it goes: a proof that it runs")
    options.add_argument("--only", nargs="+", choices=parts, default=parts, help="these parts")
    options.add_argument("--vectors", type=int, nargs="+", default=[1_000_000], help="sizes for kmeans and blocks")
    args = options.parse_args()
    sizes = [2_000] if args.tiny else args.vectors
    peak = matmul(args.tiny)
    print(
        json.dumps(
            {
                "device": torch.cuda.get_device_name() if CUDA else "cpu",
                "torch": torch.__version__,
                "cores": os.cpu_count(),
                "matmul TFLOP/s": peak / 1e12,
            }
        ),
        flush=True,
    )
    work: dict[str, tuple[tuple[str, ...], list[Callable[[], Iterator[dict]]]]] = {
        "kmeans": (("faiss", "duckdb", "pyarrow"), [lambda n=n: kmeans(n, peak) for n in sizes]),
        "blocks": ((), [lambda n=n: blocks(n, peak) for n in sizes]),
    }
    for part in [p for p in args.only if p in work]:
        packages, jobs = work[part]
        why = needs(*packages)
        for line in [{"part": part, "skipped": why}] if why else (line for job in jobs for line in job()):
            print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in line.items()}), flush=True)


if __name__ == "__main__":
    main()
