"""`curate doctor`: check this machine's resources and libraries, one line each; a missing one with its consequence and remedy."""

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from curate.errors import CurateError
from curate.store.atomic import PRIVATE, Store


@dataclass(frozen=True)
class Finding:
    """The result of one check. state: `fine`, `absent` (some features do not work) or `wrong`."""

    name: str
    state: str
    words: str


def look(stores: list[str], model: str = "") -> list[Finding]:
    """Run all checks. stores: folders or URLs that a run would use; model: a CLIP model to measure, empty: none."""
    checks: list[Callable[[], Finding]] = [_python, _cores, _memory, _disk, _files, _decoders, _torch, _faiss, _ray, _language]
    return [check() for check in checks] + [_store(url) for url in stores] + ([_model(model)] if model else [])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Finding:
    return Finding("python", "fine", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _cores() -> Finding:
    return Finding("cores", "fine", f"{len(os.sched_getaffinity(0))} for this process")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Finding(
        "memory",
        "fine" if total >= 4 else "absent",
        f"{total:.0f} GB" + ("" if total >= 4 else "; a model and Ray want 4 GB or more"),
    )


def _disk() -> Finding:
    free = shutil.disk_usage(os.getcwd()).free / 1e9
    return Finding(
        "disk", "fine" if free >= 2 else "absent", f"{free:,.0f} GB free here; pictures take about 0.1 GB a thousand"
    )


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Finding(
        "open files",
        "fine" if hard >= 4096 else "absent",
        f"{soft:,}, may be raised to {hard:,}; a fetching worker needs some hundreds",
    )


def _decoders() -> Finding:
    from PIL import features

    lacks = [f for f in ("webp", "avif") if not features.check(f)]
    return Finding(
        "decoders",
        "fine" if not lacks else "absent",
        "JPEG, PNG, GIF, WebP, AVIF" if not lacks else f"Pillow lacks {', '.join(lacks)}: such pictures are dropped as broken",
    )


def _run_python(code: str, seconds: int = 120) -> tuple[bool, str]:
    """Run Python code in a child process, since a broken driver library may crash it: whether it succeeded, and its last line of output."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False, f"no answer within {seconds} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit code {done.returncode}"


def _torch() -> Finding:
    version = _version("torch")
    if version is None:
        return Finding("torch", "absent", "not installed: no CLIP, no captioners; pip install torch open_clip_torch")
    code = "import torch; n = torch.cuda.device_count(); print(f'{n} x {torch.cuda.get_device_name(0)}' if n else 'no GPU: models run on the CPU')"
    worked, output = _run_python(code)
    return Finding("torch", "fine" if worked else "wrong", f"{version}, {output}")


def _faiss() -> Finding:
    packages = {n: v for n in ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs-cu12") if (v := _version(n))}
    if not packages:
        return Finding("faiss", "absent", "not installed: no semantic dedup, no clusters; pip install faiss-cpu")
    code = (
        "import faiss; n = faiss.get_num_gpus() if hasattr(faiss, 'get_num_gpus') else 0; "
        "print(f'{faiss.get_compile_options().strip()}, {n} GPUs' if n else f'{faiss.get_compile_options().strip()}, on the CPU')"
    )
    worked, output = _run_python(code)
    return Finding("faiss", "fine" if worked else "wrong", f"{', '.join(f'{n} {v}' for n, v in packages.items())}: {output}")


def _ray() -> Finding:
    shm = shutil.disk_usage("/dev/shm").free / 1e9 if os.path.isdir("/dev/shm") else 0.0
    words = f"{_version('ray')}, {shm:.1f} GB of shared memory" + ("" if shm >= 0.1 else ": too little, Ray will use the disk")
    return Finding("ray", "fine" if shm >= 0.1 else "absent", words)


def _language() -> Finding:
    from curate.filters.language import Language

    try:
        return Finding("language model", "fine", str(Language().path()))
    except CurateError as e:
        return Finding("language model", "absent", str(e))


def _model(name: str) -> Finding:
    from curate.cli.rates import measure

    try:
        return Finding(f"model {name}", "fine", measure(name).words())
    except CurateError as e:
        return Finding(f"model {name}", "wrong", str(e))


def _store(url: str) -> Finding:
    """Check a store: write, read and remove a small file, and test exclusive creation."""
    name, began = f".doctor-{uuid.uuid4().hex}", time.monotonic()
    try:
        store = Store(url)
        store.probe()
        store.publish_bytes(name, b"curate")
        whole = store.read(name) == b"curate"
        store.remove(name)
        if store.local and not os.listdir(private := store.path(PRIVATE)):
            os.rmdir(private)
    except Exception as e:  # whatever a store's library raises
        return Finding(f"store {url}", "wrong", (str(e).splitlines() or [type(e).__name__])[0])
    words = f"written, read and removed in {time.monotonic() - began:.2f} s; " + (
        "creates only where there is none" if store.exclusive else "cannot create exclusively: keep to one driver"
    )
    return Finding(f"store {url}", "fine" if whole else "wrong", words)
