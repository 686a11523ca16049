"""Every kind of writer in one run on Ray: transformers, vLLM's engine (a stand-in) on two GPUs, endpoints side by side, a translator and a
judge; and the same run on the local engine."""

import functools
import io
import json
import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from small_run import photo
from synth import stand_in_vllm
from synth.test_endpoint import GOOD, Server
from synth.tiny_models import save_blip, word_tokenizer

import curate
from curate.fetch.stage import Fetch
from curate.recipe import Recipe, Shards
from curate.runner.driver import Driver
from curate.runner.engine import RayEngine
from curate.sources.webdataset import WebDataset
from curate.store.atomic import Store
from curate.synth.caption import Caption, Translate
from curate.synth.captioners import Decoding
from curate.synth.captioners.endpoint import Endpoint
from curate.synth.captioners.hugging import ImageToText
from curate.synth.captioners.vllm import Vllm
from curate.synth.preference import Prefer, Preference
from curate.view.progress import Quiet

ROWS = 12


class PlacedEngine(stand_in_vllm.Engine):
    """Starts a worker in each bundle of its placement group that has a GPU, as vLLM does, and notes in `folder` which GPU it has."""

    def __init__(self, folder: str):
        super().__init__({})
        self.folder = folder

    def from_engine_args(self, how):
        group = ray.util.get_current_placement_group()
        if group is not None:
            assert how.distributed_executor_backend == "ray"
            of = ray.remote(num_cpus=0, num_gpus=1)(lambda: ray.get_runtime_context().get_accelerator_ids()["GPU"])
            where = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
            rank = range(how.tensor_parallel_size * how.pipeline_parallel_size)
            found = ray.get([of.options(scheduling_strategy=where(group, n)).remote() for n in rank])
            Path(self.folder, "gpus").write_text(json.dumps([group.bundle_specs, found]))
        return super().from_engine_args(how)


@dataclass
class PlacedVllm(Vllm):
    """Vllm on the stand-in engine."""

    untracked = (*Vllm.untracked, "folder")
    folder: str = ""

    def preflight(self) -> None:
        """The package need not be there."""

    def load(self) -> None:
        in_ray = ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None
        sys.modules.update(stand_in_vllm.modules(PlacedEngine(self.folder), in_ray))
        self._template = lambda turns, **_: str(turns)


@pytest.fixture(scope="module")
def engine():
    root = Path(__file__).parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(root / "tests"), str(root)]))
        patch.setattr(ray, "init", functools.partial(ray.init, num_gpus=2))
        engine = RayEngine(workers=2)
    yield engine
    engine.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pool of pictures with texts and languages, and a captioner of random weights."""
    folder = tmp_path_factory.mktemp("writers")
    save_blip(folder / "blip", word_tokenizer())
    with tarfile.open(folder / "pool.tar", "w") as tar:
        for i in range(ROWS):
            language = json.dumps({"language": "en" if i % 3 == 0 else "de"}).encode()
            for suffix, data in (("jpg", photo(i)), ("txt", f"text {i}".encode()), ("json", language)):
                member = tarfile.TarInfo(f"{i:05d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return folder


def says(text):
    return {**GOOD, "choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


def recipe(folder, translators, judge):
    kept, pair = str(folder / "kept"), ("caption_seen", "caption_english")
    writer = Endpoint("m", url=",".join(s.url for s in translators), cache=kept)
    judging = Endpoint("judge", url=judge.url, cache=kept)
    return Recipe(
        WebDataset(str(folder)),
        score=[Fetch()],
        synth=[
            Caption(ImageToText(str(folder / "blip"), largest=32), decoding=Decoding(max_tokens=4), name="plain"),
            Caption(PlacedVllm("m", tensor=2, folder=str(folder)), prompt="short", name="seen"),
            Translate(writer, of={"text": "caption_seen"}, language="source_language", name="english"),
            Prefer(judging, of=pair, swapped=True, name="backward"),
            Preference(of=pair, by=("backward",), name="better"),
        ],
        shards=Shards(size=8),
        name="writers",
    )


def test_every_writer_writes_the_same_on_ray_and_on_the_local_engine(folder, tmp_path, engine):
    with Server(says("a cat")) as one, Server(says("a cat")) as two, Server(says("1")) as judge:
        made = recipe(folder, (one, two), judge).check()
        engine.ship_user_code([made.source, *made.steps])
        on_ray = Driver(made, Store(str(tmp_path / "ray")), engine, 6, False, Quiet(), None).run()
        asked = [len(server.asked) for server in (one, two, judge)]
        local = curate.run(recipe(folder, (one, two), judge), str(tmp_path / "local"), "local", part_size=6)
        assert [len(server.asked) for server in (one, two, judge)] == asked  # its answers are kept
    assert min(asked[:2]) > 0 and asked[0] + asked[1] == ROWS * 2 // 3 and asked[2] == ROWS * 2 // 3
    assert on_ray.dataset["root_hash"] == local.dataset["root_hash"] and on_ray.dataset["samples"] == ROWS
    columns = "caption_plain_made.tokens between 1 and 4, caption_seen, caption_english, backward, better_pair is null"
    rows = on_ray.sql(f"select source_language, {columns}, better_pair.preferred from images where kept").fetchall()
    assert sorted(set(rows)) == [
        ("de", True, "a dog", "a cat", 2, False, 2),
        ("en", True, "a dog", "a dog", None, False, None),
    ]
    bundles, gpus = json.loads((folder / "gpus").read_text())
    assert [b["GPU"] for b in bundles] == [1, 1] and sorted(gpus) == [["0"], ["1"]]
