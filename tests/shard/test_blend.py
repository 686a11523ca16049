"""A mix of runs is drawn by each trainer in its shares: with the very command lines that are printed."""

import collections
import json
import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import small_run

from curate.cli import main
from curate.errors import RecipeError
from curate.shard.blend import blend
from tests.shard.test_loaders import open_clip_data  # noqa: F401  a fixture


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """30 and 60 rows: 30 and 60 samples."""
    folder = tmp_path_factory.mktemp("blend")
    return [small_run(folder / name, n, kinds=("JPEG",)).root for name, n in (("a", 30), ("b", 60))]


@pytest.fixture(scope="module")
def mixed(runs, tmp_path_factory):
    """a and b, one sample of a for each of b."""
    out = str(tmp_path_factory.mktemp("mix") / "blend.json")
    return blend([(runs[0], 1), (runs[1], 1)], out), out


def test_shares_follow_the_weights_and_sizes(runs, mixed, tmp_path):
    made, out = mixed
    a, b = made.sources
    assert (a.samples, b.samples) == (30, 60) and (a.share, b.share) == (0.5, 0.5) and (a.factor, b.factor) == (1.5, 0.75)
    assert json.loads(Path(out).read_text())["sources"][0]["tars"] == a.tars
    plain = blend([(r, None) for r in runs], str(tmp_path / "b.json"))
    assert [round(s.share, 6) for s in plain.sources] == [round(1 / 3, 6), round(2 / 3, 6)]
    assert [s.factor for s in plain.sources] == [1, 1]


def test_shares_of_tokens(runs, tmp_path):
    counted = [shutil.copytree(run, tmp_path / name) for run, name in zip(runs, "ab")]
    for run, each in zip(counted, (10, 30)):
        for file in run.glob("shards/*.parquet"):
            rows = pq.read_table(file)
            pq.write_table(rows.append_column("caption_tokens", pa.array([each] * len(rows), pa.int32())), file)
    made = blend([(str(run), 1) for run in counted], str(tmp_path / "b.json"), by="tokens")
    assert [s.tokens for s in made.sources] == [300, 1800] and [s.share for s in made.sources] == [0.75, 0.25]
    with pytest.raises(RecipeError, match="no column caption_tokens"):
        blend([(runs[0], 1)], str(tmp_path / "b.json"), by="tokens")
    with pytest.raises(RecipeError, match="or none"):
        blend([(runs[0], 1), (runs[1], None)], str(tmp_path / "b.json"))


def test_open_clip_draws_shards_in_these_shares(runs, mixed, open_clip_data):  # noqa: F811
    data, _ = open_clip_data
    words = shlex.split(mixed[0].commands["open_clip"][0])
    given = {w: words[n + 1] for n, w in enumerate(words[:-1]) if w.startswith("--train")}
    shards = data.ResampledShards2(
        given["--train-data"], weights=given["--train-data-upsampling-factors"], nshards=4000, deterministic=True
    )
    drawn = collections.Counter("a" if url["url"].startswith(f"{runs[0]}/") else "b" for url in shards)
    assert given["--train-num-samples"] == "90" and 0.46 < drawn["a"] / 4000 < 0.54


def test_datasets_interleaves_them(runs, mixed):
    pytest.importorskip("datasets")
    scope: dict = {}
    exec(shlex.split(mixed[0].commands["datasets"][0])[2], scope)
    first = [row["__url__"] for row in scope["mix"].take(200)]
    assert 0.35 < sum(url.startswith(f"{runs[0]}/") for url in first) / len(first) < 0.65


def test_the_command_prints_a_line_for_each_trainer(runs, tmp_path, capsys):
    assert main(["blend", f"{runs[0]}=3", f"{runs[1]}=1", "-o", str(tmp_path / "b.json")]) == 0
    said = capsys.readouterr().out
    assert "75.00%" in said and all(f"\n{name}:\n" in said for name in ("open_clip", "energon", "datasets"))
    assert main(["blend", str(tmp_path / "none"), "-o", str(tmp_path / "b.json")]) == 1


def test_energon_reads_the_mix(runs, mixed):
    energon = pytest.importorskip("megatron.energon")
    *export, code = mixed[0].commands["energon"]
    assert [main(shlex.split(line)[1:]) for line in export] == [0, 0]
    scope: dict = {}
    code = shlex.split(code)[2].replace("batch_size=32", "batch_size=1")  # the pictures differ in size
    exec(code.replace("default_worker_config()", "default_worker_config(num_workers=0)"), scope)
    drawn = collections.Counter()
    for sample, _ in zip(energon.get_loader(scope["mix"]), range(200)):
        drawn[sample.__subflavors__[0]["run"]] += 1
    assert 0.35 < drawn[runs[0]] / 200 < 0.65
