"""curate plan --rows: the formulas, against the figures that they gave by hand."""

import pytest
from toys import recipe

from curate.cli import main
from curate.cli.costs import costs
from curate.dedup.semantic import SemanticDedup
from curate.filters.clip_embed import ClipEmbed


@pytest.mark.parametrize(
    ("rows", "clusters", "train", "time", "store"),
    [
        (10**6, "4,000", "3.15e+13", "0.4 s; 0.3 s in two levels", "3.1 GB"),
        (10**8, "40,000", "3.15e+15", "94.8 s; 34.0 s in two levels", "311.6 GB"),
        (10**10, "400,000", "3.15e+17", "18.5 h; 87.7 min in two levels", "31.2 TB"),
    ],
)
def test_the_cost_of_semantic_dedup(inputs, rows, clusters, train, time, store):
    made = recipe([inputs / "a.txt"], extra=[ClipEmbed()])
    made.select.append(SemanticDedup())
    found = {c.quantity: c.value for c in costs(made, rows)}
    assert found["semantic_dedup: clusters K"] == clusters and found["semantic_dedup: k-means, operations"] == train
    assert found["clip_embed: embeddings, float16"] == store and found["parts"] == f"{rows // 10_000:,}"
    assert found["semantic_dedup: GPU time"] == time


def test_plan_prints_formulas(tmp_path, capsys):
    (tmp_path / "l.csv").write_text("url,text\nhttp://a.example/1,one\n")
    assert main(["plan", "clip_score_top30", "--pairs", str(tmp_path / "l.csv"), "--rows", "1000000"]) == 0
    out = capsys.readouterr().out
    assert "N x 21 µs" in out and "21.0 s" in out
    assert "at N = 1,000,000 rows" in out and "N x 60 kB" in out and "60.0 GB" in out
