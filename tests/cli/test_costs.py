"""curate plan --rows: the formulas, against the figures that they gave by hand."""

import pytest
from toys import recipe

from curate.cli import main
from curate.cli.costs import amount, costs
from curate.dedup.semantic import SemanticDedup
from curate.filters.clip_embed import ClipEmbed
from curate.filters.clip_text import ClipText
from curate.filters.nsfw import Nsfw
from curate.synth.caption import Caption


@pytest.mark.parametrize(
    ("rows", "clusters", "train", "time", "store"),
    [
        (10**6, "1,414", "3.93e+12", "0.2 s", "3.1 GB"),
        (10**8, "14,142", "3.93e+14", "107.7 s", "311.6 GB"),
        (10**10, "141,421", "3.93e+16", "27.7 h", "31.2 TB"),
    ],
)
def test_the_cost_of_semantic_dedup(inputs, rows, clusters, train, time, store):
    made = recipe([inputs / "a.txt"], extra=[ClipEmbed()])
    made.select.append(SemanticDedup())
    found = {c.quantity: amount(c) for c in costs(made, rows)}
    assert found["semantic_dedup: clusters K"] == clusters and found["semantic_dedup: k-means, operations"] == train
    assert found["clip_embed: embeddings, float16"] == store and found["parts"] == f"{rows // 10_000:,}"
    assert found["semantic_dedup: time of an H200"] == time


@pytest.mark.parametrize(
    ("step", "quantity", "time"),
    [
        (ClipEmbed(model="ViT-L-14:openai"), "clip_embed: time of an H200", "12.0 h"),  # 10^8 / 2,620 + 10^8 / 20,300 s
        (ClipEmbed(model="ViT-L-14-quickgelu:dfn2b"), "clip_embed: time of an H200", "12.0 h"),
        (ClipText(model="ViT-B-32:openai"), "clip_text: time of an H200", "50.0 min"),  # 10^8 / 33,310 s
        (ClipEmbed(model="ViT-H-14:laion2b"), "clip_embed: time of the model", "not known"),
        (Nsfw(), "nsfw: time of the model", "not known"),
        (Caption("small", name="caption_synthetic"), "caption_synthetic: time of the model", "not known"),
    ],
)
def test_the_time_of_models(step, quantity, time):
    """By the rates of a named card; a model without one is said to have none."""
    found = {f"{step.name}: {c.quantity}": amount(c) for c in step.costs(10**8)}
    assert found[quantity] == time
    assert ("no rate is known" in {c.formula for c in step.costs(10**8)}) == (time == "not known")


def test_plan_prints_formulas(tmp_path, capsys):
    (tmp_path / "l.csv").write_text("url,text\nhttp://a.example/1,one\n")
    assert main(["plan", "clip_score_top30", "--pairs", str(tmp_path / "l.csv"), "--rows", "1000000"]) == 0
    out = capsys.readouterr().out
    assert "N x 25 µs" in out and "25.0 s" in out and "6.9 h" in out and "2.9 days" in out
    assert "10^6" in out and "10^9" in out and "10^10" in out and "tasks x 2 ms" in out
    assert "N / 148" in out and "clip_embed: time of an H200" in out and "not on this one" in out
    with pytest.raises(SystemExit) as refused:
        main(["plan", "clip_score_top30", "--pairs", str(tmp_path / "l.csv"), "--rows", "-1"])
    assert refused.value.code == 2 and "-1 is not a whole number" in capsys.readouterr().err
    assert "at N = 1,000,000 rows" in out and "N x 60 kB" in out and "60.0 GB" in out


def test_a_run_gives_its_rates(inputs, tmp_path, capsys):
    """What a run of 1,500 rows took, for 1,500 rows, is what it took."""
    from curate.cli.costs import as_text, measured
    from curate.runner.driver import run
    from curate.store.atomic import Store

    made = recipe([inputs / "a.txt", inputs / "b.txt"])
    assert measured(Store(tmp_path / "out"), made.check()) is None
    done = run(made, tmp_path / "out", "local", part_size=300)
    rates = measured(Store(tmp_path / "out"), made.check())
    assert rates.rows == 1500 and rates.kept == done.dataset["samples"] / 1500
    on_disk = {
        folder: sum(f.stat().st_size for f in (tmp_path / "out" / folder).rglob("*") if f.is_file())
        for folder in ("ledger", "shards", "work/parts")
    }
    assert rates.bytes["ledger"] * 1500 == pytest.approx(on_disk["ledger"])
    assert rates.bytes["shards"] * 1500 == pytest.approx(on_disk["shards"])
    assert sum(rates.bytes[k] for k in ("source", "columns", "payloads")) * 1500 == pytest.approx(on_disk["work/parts"])
    assert set(rates.seconds) == {s.name for s in made.steps} and all(v >= 0 for v in rates.seconds.values())
    other = as_text(recipe([inputs / "a.txt"], extra=[ClipEmbed()]), 10**8, 300, measured(Store(tmp_path / "out"), made))
    assert "time: clip_embed" in other and "not measured" in other
    said = as_text(made, 10**8, 300, rates)
    assert f"like the 1,500 of {tmp_path / 'out'}" in said and f"{rates.kept * 10**8:,.0f}" in said


def test_plan_takes_the_rates_of_a_run(tmp_path, capsys):
    from pictured import pool

    pool(tmp_path)
    command = ["high_resolution", "--pool", str(tmp_path / "pool.tar"), "-o", str(tmp_path / "out")]
    assert main(["run", *command, "--engine", "local"]) == 0
    capsys.readouterr()
    assert main(["plan", *command, "--rows", "1e8"]) == 0
    out = capsys.readouterr().out
    assert "at N = 100,000,000 rows like the" in out and "bytes: ledger" in out and "time: " in out
