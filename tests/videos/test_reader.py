"""Times count from a film's start; the frame at a time is never a later one; sound is at its own time."""

import io
import wave

import av
import numpy as np
import pytest
from films_made import RATE, film, number
from PIL import Image

from curate.videos import media

EVEN = [n / 25 for n in range(250)]
UNEVEN = list(np.round(np.cumsum([0, *np.random.default_rng(0).choice([0.02, 0.04, 0.1, 0.5], 120)]), 3))
LATE = [2 + n / 25 for n in range(100)]

FILMS = {
    "ts": (".ts", EVEN, {}),
    "ts at an hour": (".ts", EVEN, {"offset": 3600.0}),
    "ts mpeg2": (".ts", EVEN, {"codec": "mpeg2video"}),
    "ts long gops": (".ts", EVEN, {"gop": 120, "bframes": 3}),
    "ts uneven": (".ts", UNEVEN, {}),
    "ts with sound": (".ts", EVEN, {"sounds": [(0, 10)]}),
    "mpeg": (".mpg", EVEN, {"codec": "mpeg2video"}),
    "mkv": (".mkv", EVEN, {}),
    "mkv late": (".mkv", EVEN, {"offset": 100.0}),
    "mkv uneven": (".mkv", UNEVEN, {"bframes": 3}),
    "mp4": (".mp4", EVEN, {}),
    "mp4 uneven": (".mp4", UNEVEN, {"sounds": [(0, 5)]}),
    "mp4 late": (".mp4", EVEN, {"offset": 5.0}),
    "mov": (".mov", EVEN, {"gop": 100}),
    "mov fragments": (".mov", EVEN, {"options": {"movflags": "frag_keyframe+empty_moov"}}),
    "flv": (".flv", EVEN, {}),
    "avi": (".avi", EVEN, {"codec": "mpeg4", "bframes": 0}),
    "avi b-frames": (".avi", EVEN, {"codec": "mpeg4", "bframes": 2}),
    "wmv": (".wmv", EVEN, {"codec": "wmv2", "bframes": 0}),
    "webm": (".webm", EVEN, {"codec": "libvpx-vp9", "bframes": 0, "offset": 50.0}),
    "late picture ts": (".ts", LATE, {"sounds": [(0, 6)]}),
    "late picture mkv": (".mkv", LATE, {"sounds": [(0, 6)]}),
    "late picture mp4": (".mp4", LATE, {"sounds": [(0, 6)]}),
}


def begins(path: str) -> list[tuple[float, int]]:
    """When each frame begins, and its number, by decoding all of the file from its first byte."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        first = max(0.0, (container.start_time or 0) / 1e6)
        return [(f.time - first, number(f.to_ndarray(format="rgb24"))) for f in container.decode(stream)]


def seen(path: str, times: list[float]) -> list[int | None]:
    found = media.run_task("frames", path, [times], 0, 95)
    assert found["outcome"] is None
    return [None if f is None else number(np.asarray(Image.open(io.BytesIO(f[0])))) for f in found["frames"]]


@pytest.mark.parametrize("name", FILMS)
def test_the_frame_of_a_time_is_the_last_that_begins_before_it(name, tmp_path):
    suffix, times, how = FILMS[name]
    path = film(tmp_path / f"film{suffix}", times, **how)
    all_ = begins(path)
    assert [n for _, n in all_] == list(range(len(times)))
    if "late picture" not in name:
        assert all_[0][0] < 0.2  # of an hour nothing is left
    last = all_[-1][0]
    asked = [0.0, 0.001, *np.random.default_rng(1).uniform(0, last, 12), last - 0.001, last, last + 0.02]
    asked = [round(float(t), 3) for t in asked]
    before = 0 if all_[0][0] < 0.2 else None  # of the start, where only a codec's delay is before the first frame
    wanted = [max((n for b, n in all_ if b <= t + 0.002), default=before) for t in asked]
    assert seen(path, asked) == wanted  # to and fro
    assert seen(path, sorted(asked)) == sorted(wanted, key=lambda n: -1 if n is None else n)
    for time, n in list(zip(asked, wanted))[2:9]:  # each sought alone
        assert seen(path, [time]) == [n]


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_before_a_late_first_frame_there_is_none(suffix, tmp_path):
    path = film(tmp_path / f"film{suffix}", LATE, sounds=[(0, 6)])
    assert seen(path, [0.0, 0.5, 1.0, 1.5, 2.2, 1.0])[:4] == [None] * 4
    assert seen(path, [2.2, 0.5, 9.0, 2.2])[1:] == [None, 99, seen(path, [2.2])[0]]


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("offset", [0.0, 3600.0])
def test_sound_is_at_its_own_time(suffix, offset, tmp_path):
    if offset and suffix != ".ts":
        offset = 7.0
    path = film(tmp_path / f"film{suffix}", EVEN, sounds=[(2.0, 4.0), (6.0, 8.0)], offset=offset)
    late = 0.0
    if offset and suffix in (".mp4", ".mov"):
        late = min(b for b, _ in begins(path))  # an edit list may keep what is before the first frame
    for start, end in ((0.0, 5.0), (1.5, 2.5), (3.0, 7.0), (7.0, 9.5)):
        found = media.run_task("sound", path, start + late, end + late, RATE)
        with wave.open(io.BytesIO(found["wav"])) as file:
            samples = np.frombuffer(file.readframes(1 << 20), np.int16).astype(float)
        assert len(samples) == round((end - start) * RATE) and found["seconds"] == end - start
        loud = np.abs(samples).reshape(-1, RATE // 20).max(axis=1) > 2000
        times = start + (np.arange(len(loud)) + 0.5) / 20
        expected = ((times > 2) & (times < 4)) | ((times > 6) & (times < 8))
        assert (loud != expected).sum() <= 3 * 2, (suffix, start)  # frames of a codec begin and end softly
    assert media.run_task("sound", path, 4.5 + late, 5.5 + late, RATE)["wav"] is None
    assert media.run_task("sound", path, 9.0 + late, 9.9 + late, RATE)["wav"] is None


def test_a_film_s_length_does_not_count_from_zero_of_its_container(tmp_path):
    for suffix in (".ts", ".mkv"):
        found = media.run_task("probe", film(tmp_path / f"film{suffix}", EVEN, offset=3600.0))
        assert found["outcome"] is None and 9.5 < found["seconds"] < 10.6
    cuts = media.run_task("scenes", film(tmp_path / "cuts.ts", EVEN, offset=3600.0), 5.0)["cuts"]
    assert cuts and all(0 < c < 10.5 for c in cuts)


# ---- turned, high dynamic range, damaged


def arrow(path, matrix: tuple[int, ...] | None, side: int = 0) -> tuple[dict, np.ndarray, tuple]:
    """A film of 160 x 96, red above blue, the left edge white; how it is probed, shown, and what its sides are."""
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[:48, :, 0] = picture[48:, :, 2] = 230
    picture[:, :32] = 255
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        if matrix:
            stream.set_display_matrix([v << 16 if i not in (2, 5, 8) else v << 30 for i, v in enumerate(matrix)])
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    data, *sides, _ = media.run_task("frames", str(path), [[0.2]], side, 95)["frames"][0]
    return media.run_task("probe", str(path)), np.asarray(Image.open(io.BytesIO(data))), tuple(sides)


@pytest.mark.parametrize(
    ("matrix", "white", "red"),
    [
        (None, (48, 8), (8, 80)),
        ((0, 1, 0, -1, 0, 0, 96, 0, 1), (8, 48), (80, 88)),  # a quarter to the right, as telephones are held
        ((0, -1, 0, 1, 0, 0, 0, 160, 1), (152, 48), (80, 8)),
        ((-1, 0, 0, 0, -1, 0, 160, 96, 1), (48, 152), (88, 80)),
        ((-1, 0, 0, 0, 1, 0, 160, 0, 1), (48, 152), (8, 80)),  # mirrored, as their front cameras do
        ((0, 1, 0, 1, 0, 0, 0, 0, 1), (8, 48), (80, 8)),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_turned_films_have_turned_sides(matrix, white, red, suffix, tmp_path):
    probed, pixels, sides = arrow(tmp_path / f"film{suffix}", matrix)
    turned = matrix is not None and matrix[0] == 0
    size = (96, 160) if turned else (160, 96)
    assert (probed["width"], probed["height"]) == size == (pixels.shape[1], pixels.shape[0]) and sides == size * 2
    assert pixels[white].min() > 200 and pixels[red][0] > 150 and pixels[red][2] < 100
    assert arrow(tmp_path / f"small{suffix}", matrix, 48)[2] == ((48, 80, 96, 160) if turned else (80, 48, 160, 96))


def bars(path, transfer: int, signals: list[float]) -> np.ndarray:
    """A film of 10 bits in BT.2020 with grey bars of these signals; its first frame's grey levels."""
    luma = np.repeat(np.round(64 + np.array(signals) * 876).astype(np.uint16), 32)[None].repeat(64, 0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx265", rate=25, options={"x265-params": "log-level=none:lossless=1:pools=1"})
        stream.width, stream.height, stream.pix_fmt = luma.shape[1], 64, "yuv420p10le"
        stream.codec_context.color_trc, stream.codec_context.color_primaries, stream.codec_context.colorspace = transfer, 9, 9
        for _ in range(3):
            frame = av.VideoFrame(luma.shape[1], 64, "yuv420p10le")
            for plane, values in zip(
                frame.planes, (luma, np.full((32, luma.shape[1] // 2), 512), np.full((32, luma.shape[1] // 2), 512))
            ):
                row = np.zeros((values.shape[0], plane.line_size // 2), np.uint16)
                row[:, : values.shape[1]] = values
                plane.update(row.tobytes())
            frame.color_trc, frame.colorspace, frame.color_primaries = transfer, 9, 9
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    (data, *_) = media.run_task("frames", str(path), [[0.0]], 0, 100)["frames"][0]
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    assert np.ptp(pixels[32].astype(int), axis=1).max() <= 4  # grey stays grey
    return pixels[32, 16::32, 1]


def pq(nits: float) -> float:
    """The signal of SMPTE ST 2084 for so many nits."""
    y = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


@pytest.mark.parametrize(("transfer", "dark", "mid", "white"), [(16, pq(5), pq(26), pq(203)), (18, 0.15, 0.38, 0.75)])
def test_high_dynamic_range_is_brought_down(transfer, dark, mid, white, tmp_path):
    """Middle grey (26 nits, BT.2408) is middle grey, paper (203 nits) is nearly white, and highlights still differ from it."""
    levels = bars(
        tmp_path / "film.mp4", transfer, [0, dark, mid, white, (white + 1) / 2 if transfer == 18 else pq(500), 1.0]
    ).astype(int)
    assert levels[0] < 5 and 5 < levels[1] < 60 and abs(levels[2] - 100) < 4 and 205 < levels[3] < 245
    assert levels[3] + 8 < levels[4] <= 255 and levels[5] >= 253
    plain = bars(tmp_path / "plain.mp4", 1, [0, 0.5, 1.0, 0, 0, 0]).astype(int)
    assert abs(plain[1] - 128) <= 3 and plain[2] >= 253


def test_empty_and_foreign_files_have_an_outcome(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("this is no film" * 100)
    (tmp_path / "head.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    for path in sorted(tmp_path.iterdir()):
        for what, about in (("probe", ()), ("scenes", (27.0,)), ("frames", ([[0.0]], 0, 95)), ("sound", (0.0, 1.0, 8000))):
            assert media.run_task(what, str(path), *about) == {"outcome": "broken"}, path


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4", ".flv", ".avi"])
def test_a_film_that_was_cut_shows_what_is_there(suffix, tmp_path):
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    how = {"codec": "mpeg4", "bframes": 0} if suffix == ".avi" else {}
    path = tmp_path / f"film{suffix}"
    film(path, EVEN, sounds=[(0, 10)], options=options, **how)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.5)])
    found = seen(str(path), [0.0, 2.02, 3.0, 9.0, 9.5, 2.02])
    ends = media.run_task("probe", str(path))["seconds"]
    assert found[0] == 0 and found[1] == found[5] and abs(found[1] - 50) <= 2 and abs(found[2] - 75) <= 2
    if ends > 9:  # the header tells of more than there is
        assert found[3:5] == [None, None]
    assert media.run_task("sound", str(path), 1.0, 2.0, RATE)["wav"] is not None
    if ends > 9:
        assert media.run_task("sound", str(path), 9.0, 9.9, RATE)["wav"] is None


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_a_damaged_middle_costs_what_is_damaged(suffix, tmp_path):
    path = tmp_path / f"film{suffix}"
    film(path, EVEN, sounds=[(0, 10)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes()
    path.write_bytes(data)
    assert seen(str(path), [1.02, 8.52])[0] == seen(str(path), [1.02])[0] and abs(seen(str(path), [8.52])[0] - 213) <= 3
    found = media.run_task("sound", str(path), 0.0, 10.0, RATE)
    with wave.open(io.BytesIO(found["wav"])) as file:
        samples = np.frombuffer(file.readframes(1 << 20), np.int16).astype(int)
    loud = np.abs(samples).reshape(-1, RATE // 10).max(axis=1) > 2000
    assert loud.mean() > 0.85 and loud[:30].all() and loud[-20:-2].all()


def test_a_cover_picture_is_no_film(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        voice, cover = out.add_stream("aac", rate=RATE, layout="mono"), out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", av.stream.Disposition.attached_pic
        out.mux(
            cover.encode(
                av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24").reformat(format="yuvj420p")
            )
        )
        out.mux(cover.encode())
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 8192), np.int16), format="s16", layout="mono")
        piece.sample_rate, piece.pts = RATE, 0
        out.mux(voice.encode(piece))
        out.mux(voice.encode())
    assert media.run_task("probe", str(path)) == {"outcome": "no_picture"}
