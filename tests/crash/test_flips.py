"""Bits that flip, files cut short: `check` tells of every one, and `run` with `repair` computes again just what was hit."""

import errno
import random
import shutil
from pathlib import Path

import pytest
from forge import inputs, outcome, toy

from curate.errors import CurateError
from curate.runner.driver import run as start
from curate.store.atomic import Store
from curate.upkeep.check import check

FLIPS = 1000
KEPT = ("inputs", "parts", "gathered", "decisions", "assigned", "planned")


def run(folder: Path, **options):
    return start(toy(str(folder)), str(folder / "run"), engine="local", part_size=50, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = inputs(tmp_path_factory.mktemp("flips"))
    made = run(folder)
    shutil.copytree(folder / "run", folder / "sound")
    return folder, made.dataset["root_hash"], outcome(folder / "run")


@pytest.fixture
def sound(made):
    folder, root, rows = made
    shutil.rmtree(folder / "run")
    shutil.copytree(folder / "sound", folder / "run")
    return folder, root, rows


def outputs(run: Path) -> list[Path]:
    return sorted(
        p
        for p in run.rglob("*")
        if p.is_file() and p.relative_to(run).parts[0] in ("shards", "ledger", "dataset.json", "recipe.json", "SHA256SUMS")
    )


def spoil(path: Path, dice: random.Random) -> str:
    """Flip a bit, or cut the file; what was done."""
    data = bytearray(path.read_bytes())
    at = dice.randrange(len(data))
    if dice.random() < 0.2:
        path.write_bytes(data[:at])
        return f"{path.name} cut at {at}"
    data[at] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    return f"{path.name} bit at {at}"


def test_a_thousand_flips_and_cuts_are_all_detected(sound):
    """The seal finds all of them by itself; `check`, which reads everything in detail first, is asked about every 25th."""
    from curate.store import checksums as seal

    folder, _, _ = sound
    dice, store, missed = random.Random(6), Store(folder / "run"), []
    files = outputs(folder / "run")
    sizes = [p.stat().st_size for p in files]
    for n in range(FLIPS):
        path = dice.choices(files, sizes)[0] if n % 2 else dice.choice(files)
        before = path.read_bytes()
        what = spoil(path, dice)
        try:
            found = check(store) if n % 25 == 0 else seal.faults(store)
            if not found:
                missed.append(what)
        finally:
            path.write_bytes(before)
    assert not missed
    assert check(store) == []


@pytest.mark.parametrize(
    "file",
    [
        "shards/00001.tar",
        "shards/00000.parquet",
        "shards/00000.json",
        "shards/sizes.json",
        "dataset.json",
        "recipe.json",
        "ledger/images/000001.parquet",
        "SHA256SUMS",
    ],
)
@pytest.mark.parametrize("fault", ["bit", "cut", "gone"])
def test_a_damaged_output_is_made_again_and_nothing_is_computed(sound, file, fault):
    folder, root, rows = sound
    path = folder / "run" / file
    stamps = {p: p.stat().st_mtime_ns for p in outputs(folder / "run") if p.suffix in (".tar", ".parquet")}
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.unlink() if fault == "gone" else path.write_bytes(data if fault == "bit" else data[: len(data) // 2])
    assert check(Store(folder / "run"))
    again = run(folder, repair=True)
    assert check(Store(folder / "run")) == [] and again.dataset["root_hash"] == root and outcome(folder / "run") == rows
    assert {c["computed"] for c in again.counters.values()} <= {0}
    rewritten = {str(p.relative_to(folder / "run")) for p, t in stamps.items() if p.stat().st_mtime_ns != t}
    trio = (
        {f"{file.rpartition('.')[0]}.{k}" for k in ("tar", "parquet")}
        if file[-9:-5].isdigit() or file.startswith("shards/0")
        else {file}
    )
    if file != "SHA256SUMS":  # else that of which nothing tells any more whether it is sound
        assert rewritten <= trio | ({file} if file.startswith("ledger") else set()), rewritten


def test_without_repair_a_flipped_bit_of_the_same_size_is_not_looked_for_and_a_missing_file_is(sound):
    folder, _, _ = sound
    path = folder / "run/shards/00001.tar"
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    run(folder)
    assert check(Store(folder / "run"))
    path.unlink()
    run(folder)
    assert check(Store(folder / "run")) == []


def private(folder: Path, pattern: str) -> Path:
    return sorted((folder / "run").glob(pattern))[-1]


def kept(run: Path) -> list[Path]:
    """Files that nobody looks at, and that a later run goes on from."""
    return sorted(p for p in (run / "work").rglob("*") if p.is_file() and p.relative_to(run).parts[1] in KEPT)


@pytest.mark.parametrize("folder_name", KEPT)
def test_any_damage_to_what_a_run_goes_on_from_is_told_and_mended(sound, folder_name):
    folder, root, rows = sound
    dice, files = random.Random(folder_name), [p for p in kept(folder / "run") if folder_name in p.parts]
    assert len(files) >= 1
    for _ in range(8):
        path = dice.choice(files)
        before = path.read_bytes()
        what = spoil(path, dice)
        assert any(path.name in fault for fault in check(Store(folder / "run"))), what
        path.write_bytes(before)
    spoil(dice.choice(files), dice)
    again = run(folder, repair=True)
    assert again.repaired and again.dataset["root_hash"] == root and outcome(folder / "run") == rows
    assert check(Store(folder / "run")) == [] and again.sql("select count(*) from edges").fetchall()[0][0] > 0


@pytest.mark.parametrize(
    ("pattern", "stages", "told"),
    [
        ("work/parts/*/images.toy_words-*.parquet", {"toy_words"}, "damaged"),
        ("work/parts/*/images.toy_score-*.parquet", {"toy_score"}, "damaged"),
        ("work/parts/*/images.toy_fetch-*.parquet", {"toy_fetch", "toy_score"}, "damaged"),
        ("work/parts/*/*.tar", {"toy_fetch", "toy_score"}, "rows, fetched or made again: their payload is lost"),
        ("work/parts/*/source.images.parquet", set(), "the input is read again"),
        ("work/inputs/*.json", set(), "the input is read again"),
        ("work/decisions/*/*.parquet", set(), "made again"),
        ("work/decisions/*/decision.json", set(), "made again"),
        ("work/assigned/*/*.parquet", set(), "made again"),
        ("work/assigned/*/assigned.json", set(), "made again"),
        ("work/planned/*.parquet", set(), "made again"),
        ("work/gathered/*.parquet", set(), "made again"),
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_damage_within_a_run_costs_the_part_it_hit(sound, pattern, stages, told, gone):
    folder, root, rows = sound
    path = private(folder, pattern)
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-600] if path.suffix == ".tar" else path.read_bytes()[:20])
    name = str(path.relative_to(folder / "run"))
    if not (gone and name.startswith(("work/gathered/", "work/planned/"))):  # `gc` removes those
        assert any(name in fault for fault in check(Store(folder / "run")))
    (folder / "run/shards/00000.tar").unlink()  # something that needs all of it
    if path.suffix == ".parquet" and "parts" in pattern and (not gone or "source" in pattern):
        with pytest.raises(CurateError, match=r"(missing|cannot be read).*--repair"):
            (folder / "run/ledger/images/000001.parquet").unlink()
            shutil.rmtree(folder / "run/work/gathered")
            run(folder)
    again = run(folder, repair=True)
    assert check(Store(folder / "run")) == [] and again.dataset["root_hash"] == root and outcome(folder / "run") == rows
    if not gone:
        assert any(told in line for line in again.repaired), again.repaired
    assert {name for name, c in again.counters.items() if c["computed"]} == stages
    assert all(c["computed"] <= 50 for c in again.counters.values())  # rows of one part


def test_a_damaged_record_of_a_run_that_had_not_ended_is_made_again(sound):
    folder, root, _ = sound
    (folder / "run/SHA256SUMS").unlink()
    path = folder / "run/recipe.json"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CurateError, match=r"recipe.json: damaged .*--repair"):
        run(folder)
    assert run(folder, repair=True).dataset["root_hash"] == root and check(Store(folder / "run")) == []


@pytest.mark.parametrize("pattern", ["shards/00001.tar", "ledger/images/000001.parquet", "work/parts/*/*.tar", "recipe.json"])
def test_a_file_that_the_disk_cannot_read_is_damaged(sound, monkeypatch, pattern):
    folder, root, _ = sound
    bad, hash = next((folder / "run").glob(pattern)), Store.hash
    written = bad.stat().st_mtime_ns

    def failing(self, name):
        if Path(self.path(name)) == bad and bad.stat().st_mtime_ns == written:
            raise OSError(errno.EIO, "Input/output error")
        return hash(self, name)

    monkeypatch.setattr(Store, "hash", failing)
    again = run(folder, repair=True)
    assert again.dataset["root_hash"] == root and any(bad.name in line for line in again.repaired)
