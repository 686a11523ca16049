"""MetaCLIP's balance: captions per second and core beside a plain use of pyahocorasick, memory, and exactness.

python benchmarks/balance.py [CAPTIONS] [ENTRIES]      under 100,000 captions only the matching
"""

import multiprocessing
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.balance.matcher import Matcher, spacing
from curate.balance.metaclip import Balance
from curate.select.exchange import frame_of


def corpus(captions: int, entries: int, seed: int = 0) -> tuple[list[str], pa.Array]:
    """Words by Zipf's law; every second frequent word, and many words, pairs and triples that occur, are entries."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"w{n:x}" for n in range(400_000)])
    draws = rng.zipf(1.25, size=captions * 14)
    words = vocabulary[draws[draws < len(vocabulary)]]
    listed = dict.fromkeys(vocabulary[3:entries:2].tolist())
    for n in (2, 3):
        some = words[: n * entries].reshape(-1, n)
        listed |= dict.fromkeys(" ".join(row) for row in some[: entries // 2].tolist())
    listed = list(listed)[:entries]
    listed += [f"rare {n}" for n in range(entries - len(listed))]
    lengths = rng.integers(5, 15, captions)
    ends = np.cumsum(lengths) % len(words)
    texts = [" ".join(words[max(e - n, 0) : e]) + (", " if n % 3 else ".") for e, n in zip(ends.tolist(), lengths.tolist())]
    return listed, pa.array(texts, pa.large_string())


def by_automaton(entries: list[str], texts: list[str]) -> tuple[float, set]:
    """CPU seconds to match, the way MetaCLIP's own code uses the package; and the pairs found."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for number, entry in enumerate(entries):
        automaton.add_word(f" {entry} ", number)
    automaton.make_automaton()
    start, pairs = time.process_time(), set()
    for row, text in enumerate(texts):
        for number in {n for _, n in automaton.iter(spacing(text))}:
            pairs.add((row, number))
    return time.process_time() - start, pairs


def select(file: str, count: int, entries: list[str], workers: int, chunk: int = 50_000, **parameters) -> tuple:
    """What falls and what is added, the notes, wall and CPU seconds of the selector on the first captions of a file."""
    with tempfile.TemporaryDirectory() as folder:
        rows = pq.read_table(file, filters=[("id", "<", count)])
        start = time.perf_counter(), time.process_time()
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            pool_of = frame_of(rows, folder, pool.imap if workers > 1 else map, chunk)
            chosen = Balance(entries, **parameters).select(pool_of)
        spent = time.perf_counter() - start[0], time.process_time() - start[1]
        return (chosen.dropped().tolist(), chosen.columns.table()), chosen.notes, *spent


def whole(file: str, rows: int, entries: list[str]) -> None:
    """The selector in a process of its own: the peak of a process never falls (and `ru_maxrss` is handed on to children)."""
    _, _, wall, cpu = select(file, rows, entries, 1, t=100)
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    print(f"whole selector, one process: {rows:,} rows in {wall:.1f} s, {cpu:.1f} CPU s, peak {peak:,.0f} MB")


def main(captions: int, size: int) -> None:
    entries, texts = corpus(captions, size)
    matcher = Matcher(entries)
    start, found = time.process_time(), 0
    for at in range(0, captions, 50_000):
        found += len(matcher.match(texts.slice(at, 50_000))[0])
    ours = captions / (time.process_time() - start)
    some = min(captions, 100_000)
    spent, pairs = by_automaton(entries, texts.slice(0, some).to_pylist())
    mine = set(zip(*(x.tolist() for x in matcher.match(texts.slice(0, some)))))
    print(f"{captions:,} captions, {len(entries):,} entries, {found / captions:.1f} matches a caption")
    print(
        f"match: {ours:,.0f} captions/s/core; pyahocorasick {some / spent:,.0f}; ratio {ours * spent / some:.1f}; "
        f"same pairs: {mine == pairs}"
    )
    print(f"ratio balance, pyahocorasick's CPU over ours: {ours * spent / some:.3f}")
    if captions < 100_000:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/p.parquet"
        pq.write_table(
            pa.table({"id": np.arange(captions), "uid": [f"{n:032x}" for n in range(captions)], "text": texts}), file
        )
        outcomes, part = [], min(captions, 200_000)
        for workers in (1, 2, 8):
            outcome, notes, wall, _ = select(file, part, entries, workers, t=100, chunk=20_000)
            outcomes.append(outcome)
            print(
                f"{workers} workers: {part:,} rows in {wall:.1f} s, kept {notes['kept']:,}, expected {notes['expected_kept']:,.1f}"
            )
        print("the same for 1, 2 and 8 workers:", outcomes[0] == outcomes[1] == outcomes[2])
        for rows in (captions // 4, captions):
            child = multiprocessing.get_context("spawn").Process(target=whole, args=(file, rows, entries))
            child.start()
            child.join()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 500_000)
