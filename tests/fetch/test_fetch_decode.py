"""The decode stage, and decoders that crash, hang or eat memory: one picture is lost, with its reason."""

import io
import os
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pyarrow as pa
import pytest
from fetch_pictures import jpeg, photo, saved
from hostile_web import bomb_png
from PIL import Image

from curate import schema
from curate.fetch.decode import Decode
from curate.fetch.decoders import Decoders, DecodeTime
from curate.fetch.isolate import _REPLY_HEADER, Isolated, allowed
from curate.fetch.pixels import decode
from curate.fetch.reencode import Resize
from curate.preprocess import Preprocess

FILES = [jpeg(), None, b"nothing", jpeg()[:60], saved(photo(), "PNG")]


def test_a_pool_of_decoders():
    """Twelve times seven files, on two decoders: what becomes of each, in order."""
    files = [*FILES, saved(photo(), "GIF"), saved(photo(), "AVIF")]
    with Decoders(2) as decoders:
        found = decoders.decode(files * 12, (None,), DecodeTime(60))
    assert [f if isinstance(f, str) else f[0].shape for f in found[-7:-2]] == [
        (48, 64, 3), "broken", "broken", "broken", (48, 64, 3)
    ]  # fmt: skip
    assert found[5:7] == ["format", "format"] and len(found) == 84
    assert np.array_equal(found[7][0], decode(FILES[0])) and np.array_equal(found[81][0], photo())


LARGE = saved(np.asarray(Image.fromarray(photo()).resize((1600, 1200), Image.Resampling.BICUBIC)), "JPEG")
CUT = LARGE[: len(LARGE) // 2]
INPUTS = (Preprocess(32), Preprocess(64, "squash", bilinear=True, full=80))


def test_what_a_model_sees_hangs_on_the_file_alone():
    """Not on what else is wanted of it; JPEGs are decoded smaller, and are then almost what the whole picture gives."""
    with Isolated() as child:
        for data in (LARGE, jpeg(), FILES[-1]):
            first, whole, second = child.prepare(data, (INPUTS[0], None, INPUTS[1]))
            assert np.array_equal(whole, decode(data)) and first.shape == (32, 32, 3) and second.shape == (64, 64, 3)
            for found, wanted in ((first, INPUTS[0]), (second, INPUTS[1])):
                assert np.array_equal(found, child.prepare(data, (wanted,))[0])
                assert np.abs(found.astype(int) - wanted(whole)).mean() < 1
        assert decode(LARGE, least=64).shape[0] < 400


@pytest.mark.parametrize("wanted", [(), INPUTS, (None,), (*INPUTS, None)])
def test_the_outcome_is_the_same_whatever_is_wanted(wanted):
    with Isolated() as child:
        assert child.prepare(CUT, wanted) == child.prepare(b"nothing", wanted) == "broken"
        assert len(child.prepare(LARGE, wanted)) == len(wanted)


def test_stage():
    live = pa.table({"uid": pa.array(["a" * 32] * 6, pa.large_string())})
    words = ["broken", "format", "decoder_crash", "decoder_timeout", "decoder_memory"]
    columns = Decode().run(live, [photo(), *words])
    assert columns["decode"].to_pylist() == ["ok", *words]
    assert Decode().judge(columns).to_pylist() == [None, "decode:broken", "decode:format", *words[2:]]
    assert set(columns["decode"].to_pylist()) <= set(schema.DECODE)


def test_isolated_resize_is_the_same():
    with Isolated() as child:
        for how in (Resize("keep_ratio", 24), Resize("border", 32, format="png", quality=1)):
            outcome, width, height, data = child.resize(how, jpeg())
            assert (outcome, (data, width, height)) == ("ok", how(jpeg()))
        assert child.resize(Resize(), b"nothing")[0] == "broken"


TRAP = """
import os, signal, time
from curate.fetch import isolate, pixels
real = pixels.decode
def decode(data, least=0):
    if data == b'crash': os.kill(os.getpid(), signal.SIGSEGV)
    if data.endswith(b'hang'): time.sleep(60)
    while data.endswith(b'slow'): pass
    if data == b'shrink':
        for fd in os.listdir('/proc/self/fd'):
            if 'pixels' in os.readlink('/proc/self/fd/' + fd):
                try: os.ftruncate(int(fd), 0)
                except PermissionError: raise pixels.Broken('sealed')
        raise MemoryError
    if data == b'eat': return bytes(20 << 30)
    if data == b'write': open('WRITTEN', 'wb').write(b'x')
    return real(data, least=least)
pixels.decode = decode
serve = isolate.serve
"""


@pytest.fixture
def trapped(tmp_path, monkeypatch):
    """A child whose decoder does what the first bytes of a file say."""
    (tmp_path / "trap.py").write_text(TRAP.replace("WRITTEN", str(tmp_path / "written")))
    real = Isolated._start

    def start(self):
        import subprocess

        popen = subprocess.Popen

        def patched(args, **options):
            args = [a.replace("from curate.fetch.isolate import serve", "from trap import serve") for a in args]
            return popen([*args, str(tmp_path)], **options)

        monkeypatch.setattr(subprocess, "Popen", patched)
        try:
            return real(self)
        finally:
            monkeypatch.setattr(subprocess, "Popen", popen)

    monkeypatch.setattr(Isolated, "_start", start)
    return tmp_path


def test_crash_hang_and_memory_cost_one_picture_each(trapped):
    with Isolated(seconds=1.5) as child:
        assert child.decode(jpeg()).shape == (48, 64, 3)
        first = child.child.pid
        assert child.decode(b"crash") == "decoder_crash"
        assert child.decode(jpeg()).shape == (48, 64, 3) and child.child.pid != first
        assert child.decode(b"eat") == "decoder_memory"
        assert child.decode(jpeg()).shape == (48, 64, 3)
        started = time.monotonic()
        assert child.decode(b"slow") == child.decode(b"hang") == "decoder_timeout" and time.monotonic() - started < 15
        assert child.decode(jpeg()).shape == (48, 64, 3)
        child.decode(b"write")
        assert not os.path.exists(trapped / "written") or os.path.getsize(trapped / "written") == 0


@pytest.mark.parametrize(
    "reply",
    [
        (0, 1, 9, 9, 3),
        (0, 1, 9, 9, 1 << 31),
        (0, 1, 65_535, 65_535, 3 * 65_535**2 & 0xFFFFFFFF),
        (1, 1, 0, 0, 1 << 31),
        (77, 1, 0, 0, 0),
    ],
)
@pytest.mark.parametrize("how", [None, Resize()])
def test_a_child_that_lies_about_sizes_costs_one_picture_and_no_memory(reply, how, monkeypatch):
    lie = f"import sys; sys.stdin.buffer.read(10); sys.stdout.buffer.write({_REPLY_HEADER.pack(*reply)!r} + b'abc')"

    def start(self):
        return subprocess.Popen([sys.executable, "-c", lie], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(Isolated, "_start", start)
    with Isolated() as child:
        if how is None:
            assert child.decode(b"12345678") == "decoder_crash"
        elif reply[-1] > 3 or reply[0] > 2:
            assert child.resize(how, b"12345678")[0] == "decoder_crash"


def test_a_child_cannot_make_shared_memory_smaller(trapped):
    with Isolated() as child:
        assert child.decode(b"shrink") == "broken" and child.decode(jpeg()).shape == (48, 64, 3)


def test_slow_pictures_take_no_more_than_their_budget(trapped):
    """So an attempt at a part ends before its deadline, with what it has; other parts have a budget of their own."""
    slow, hang = jpeg() + b"slow", jpeg() + b"hang"
    with Decoders(1, seconds=1) as decoders:
        assert decoders.decode([jpeg()], (None,), DecodeTime(60))[0][0].shape == (48, 64, 3)
        assert decoders.decode([slow, slow, hang, jpeg()], (None,), DecodeTime(1.5)) == ["decoder_timeout"] * 4
        assert decoders.decode([jpeg()], (), DecodeTime(1.5)) == [[]]


def test_small_pictures_have_little_time():
    assert allowed(jpeg()) < 1.01 and allowed(b"nothing") == 1
    assert 16 < allowed(bomb_png(8000)) < 18


def test_a_child_ends_with_its_owner():
    with Isolated() as child:
        child.decode(jpeg())
        process = child.child
    assert process.returncode is not None


def peak(child: Isolated) -> int:
    """The most memory that a child has had, in MB."""
    with open(f"/proc/{child.child.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) >> 10


def test_the_memory_of_a_decoder_is_bounded():
    """The largest picture with the most bits; and an AVIF that says 64 x 64 and holds 256 MP."""
    wide = zlib.compressobj(1)
    rows = b"".join(wide.compress(bytes(1 + 8 * 8000)) for _ in range(8000)) + wide.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 16, 6, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    deep = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    out = io.BytesIO()
    Image.new("L", (16_000, 16_000), 7).save(out, "AVIF", speed=10, quality=10)
    sizes = b"\0\0\0\x14ispe\0\0\0\0"
    lie = out.getvalue().replace(sizes + struct.pack(">II", 16_000, 16_000), sizes + struct.pack(">II", 64, 64))
    with Isolated() as child:
        assert child.decode(deep).shape == (8000, 8000, 3) and peak(child) < 1200
    with Isolated() as child:
        # On a slow core it takes longer than a picture of 64 x 64 may: the child is gone then.
        outcome = child.resize(Resize("no"), lie)[:3]
        assert outcome in (("ok", 64, 64), ("broken", 0, 0), ("decoder_timeout", 0, 0))
        assert outcome[0] == "decoder_timeout" or peak(child) < 1200
    with Isolated(memory=1 << 30) as child:
        assert child.decode(deep) == "decoder_memory" and child.decode(jpeg()).shape == (48, 64, 3)
