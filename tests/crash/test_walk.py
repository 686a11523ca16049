"""Every failpoint: killed there, or the disk fails there; then go on. Nothing lost, nothing doubled, nothing half to be seen."""

import os
import tempfile
from pathlib import Path

import pytest
from forge import Forge, Scene, walk

#: A file's way to its name. One walk takes all files through one step: after a crash there is still every other file to come.
STEPS = ("open", "fsync", "name", "sync", "named", "remove")


@pytest.fixture(scope="module")
def forge():
    forge = Forge()
    yield forge
    forge.close()


@pytest.fixture(scope="module", params=["an empty folder", "a finished run"])
def scene(request, forge):
    # In memory where there is such a place: a walk makes thousands of files durable.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield Scene(forge, Path(folder), request.param == "a finished run")


def at(scene, step):
    return [p for p in scene.places if p.startswith(f"{step} ") or (step == "remove" and p.startswith("removed "))]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_every_step_of_every_kind_of_file(scene, step):
    assert not list(walk(scene, at(scene, step), ["kill"]))


@pytest.mark.parametrize(
    ("step", "faults"),
    [("open", ["eio", "enospc"]), ("fsync", ["short", "enospc", "eio"]), ("name", ["enospc", "eio"]), ("remove", ["eio"])],
)
def test_the_disk_fails_at_every_step_of_every_kind_of_file(scene, step, faults):
    """Each place meets one fault here, and every one of them in benchmarks/chaos.py."""
    assert not list(walk(scene, at(scene, step), faults))
