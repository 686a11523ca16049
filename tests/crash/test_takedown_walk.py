"""A takedown that is killed anywhere: the same command, or the next run, ends it, in the same state as if nothing had happened."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from artefacts import holding
from forge import Forge, glob, half_files, inputs, kind, outcome, wrong

#: Three kept rows of three parts in two shards; their bytes are made of their URLs.
URLS = tuple(f"http://toy/{n}" for n in ("a.txt/5", "a.txt/62", "b.txt/18"))


class Scene:
    """A finished run; and what a takedown that nothing disturbed makes of it."""

    def __init__(self, folder: Path):
        self.forge, self.folder = Forge(), folder
        inputs(folder / "work")
        assert "root" in self.forge.run(folder / "work")
        shutil.copytree(folder / "work/run", folder / "start")
        log = folder / "places"
        said = self.forge.run(folder / "work", log=str(log), urls=URLS)
        self.golden = {"root": said["root"], "outcome": outcome(folder / "work/run")}
        self.files = self.listing()
        first: dict[str, str] = {}
        for place in log.read_text().splitlines():
            first.setdefault(kind(place), place)
        self.places = list(first.values())

    def fresh(self) -> Path:
        shutil.rmtree(self.folder / "work/run")
        shutil.copytree(self.folder / "start", self.folder / "work/run")
        return self.folder / "work"

    def listing(self) -> set[str]:
        run = self.folder / "work/run"
        return {
            str(p.relative_to(run))
            for p in run.rglob("*")
            if p.is_file() and p.relative_to(run).parts[0] not in ("lease", ".private")
        }


@pytest.fixture(scope="module")
def scene():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        made = Scene(Path(folder))
        yield made
        made.forge.close()


def traces() -> list[bytes]:
    return [f"{u}".encode() * 2 for u in URLS] + [f"{u.replace('/5', '/5h')}".encode() for u in URLS[:1]]


def test_what_is_taken_down_was_there(scene):
    assert len(holding(scene.folder / "start", *traces())) >= 6
    assert [o[3] for o in scene.golden["outcome"]].count("removed") == 3
    assert wrong(scene.folder / "work/run", scene.golden) == []


@pytest.mark.parametrize(("fault", "steps"), [("kill", ("named", "removed")), ("eio", ("name", "remove"))])
def test_killed_after_every_kind_of_change_or_failing_before_it(scene, fault, steps):
    """What lies on the disk changes at these places only: a kill anywhere else leaves the state after the change before it."""
    work, faults, seen, reached = scene.fresh(), [], {}, 0
    places = [p for p in scene.places if p.split()[0] in steps and not p.split()[1].startswith("lease")]
    # An attempt goes on from what the one before it left. Once it is through, the next begins with a finished run again.
    for place in places:
        said = scene.forge.run(work, spec=f"{fault}@{glob(place)}", urls=URLS)
        if said["status"] == 0 and "error" not in said:
            work = scene.fresh()
            said = scene.forge.run(work, spec=f"{fault}@{glob(place)}", urls=URLS)
        reached += said["status"] == -9 or "error" in said
        faults += [f"{place}: {half}" for half in half_files(work / "run", seen)]
    assert not faults and reached == len(places) > 15
    said = scene.forge.run(work, urls=URLS) if fault == "kill" else scene.forge.run(work)  # the run itself goes on with it
    assert (
        said["root"] == scene.golden["root"]
        and wrong(work / "run", scene.golden) == []
        and holding(work / "run", *traces()) == []
    )
    assert scene.listing() == scene.files
