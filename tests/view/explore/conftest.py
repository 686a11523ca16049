"""A run of pictures with the embeddings of a tiny CLIP, open for exploring."""

import pytest
from pictured import pool, recipe
from tiny import tiny_clip

from curate.filters.clip_embed import ClipEmbed
from curate.runner.driver import run as start
from curate.view.explore.explorer import Explorer


@pytest.fixture(scope="session")
def explorer(tmp_path_factory):
    path = tmp_path_factory.mktemp("explore")
    made = recipe(pool(path))
    made.score.append(ClipEmbed(model=tiny_clip(path / "tiny")))
    run = start(made, str(path / "run"), engine="local", part_size=25)
    with pytest.MonkeyPatch.context() as patch, Explorer(run.store.url) as explorer:
        patch.setenv("CURATE_CACHE", str(path / "cache"))
        explorer.map({})
        if explorer.vectors.map.thread:
            explorer.vectors.map.thread.join()  # a page that is tested is not drawn anew meanwhile
        yield explorer
