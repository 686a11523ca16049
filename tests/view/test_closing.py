"""The lines that a run ends with."""

from types import SimpleNamespace

import pytest

from curate.view.closing import summary


@pytest.mark.parametrize(
    ("samples", "shards", "says"),
    [
        (1, 1, "1 sample in 1 shard: out/shards   root"),
        (7, 2, "7 samples in 2 shards: out/shards   root"),
        (7, 0, "7 samples kept; no shards   root"),
    ],
)
def test_it_counts_samples_and_shards(samples, shards, says):
    store = SimpleNamespace(path=lambda name: f"out/{name}", exists=lambda name: False)
    run = SimpleNamespace(store=store, dataset={"samples": samples, "shards": [{}] * shards, "root_hash": "0" * 64})
    first, following = summary(run, "out").splitlines()
    assert first.startswith(says) and following == (
        "next: curate show out" if shards else 'next: curate sql out "select * from images where kept limit 20"'
    )
