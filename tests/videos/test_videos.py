"""Clips of videos: where they are cut, what their samples hold, and videos that are none."""

import io
import json
import socket
import tarfile
import wave

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from clips_made import COLOURS, CUTS, SRT, film, frame, tone
from PIL import Image

pytest.importorskip("av")

import itertools

from curate.cli import main
from curate.errors import PoolError, RecipeError
from curate.runner.driver import run
from curate.runner.recipes import load
from curate.sources.videos import Rows, Videos, heard, moment
from curate.synth.captioners import Answer, BatchWriter
from curate.synth.captioners.base import seen
from curate.upkeep import check
from curate.videos import media, speech
from curate.videos.cut import Clip, frame_times, split_at_cuts, split_by_speech, split_evenly
from curate.videos.local import local_file
from curate.videos.speech import SpeechSegment


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Two films with speech, one without sound or speech, and files that only look like videos."""
    folder = tmp_path_factory.mktemp("videos")
    film(folder / "talk.mkv")
    (folder / "talk.srt").write_text(SRT)
    film(folder / "walk.mp4", codec="mpeg4")
    (folder / "walk.json").write_text(
        json.dumps({"segments": [{"start": 0.0, "end": 4.5, "text": "A long walk through the old green forest"}]})
    )
    film(folder / "mute.avi", sound=False, still=True, seconds=1.9)
    whole = (folder / "talk.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(whole[:400])
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    (folder / "empty.webm").write_bytes(b"")
    return folder


def rows(source, table="documents", part_size=10_000):
    return [r for f in source.files() for part in source.read(f, part_size) for r in part[table].to_pylist()]


# ---- speech


def test_subrip_webvtt_and_whisper(tmp_path):
    (tmp_path / "a.srt").write_text(SRT)
    assert speech.read_transcript(str(tmp_path / "a.srt")) == [
        SpeechSegment(0.5, 1.5, "First we wash the red apples"),
        SpeechSegment(2.2, 4.6, "then cut the green pears & the rest"),
        SpeechSegment(6.8, 7.9, "and put the yellow plate on the table"),
    ]
    (tmp_path / "b.vtt").write_text(
        "WEBVTT\n\nNOTE x\n\nid\n01:02.500 --> 01:04.000 align:start\n<v Ann>one\ntwo\n\n01:02.500 --> 01:04.000\none two\n"
    )
    assert speech.read_transcript(str(tmp_path / "b.vtt")) == [
        SpeechSegment(62.5, 64.0, "one two")
    ]  # rolling captions repeat themselves
    (tmp_path / "c.json").write_text('[{"start": 1, "end": 2, "text": " hi "}, {"start": 3, "end": 3, "text": "no length"}]')
    assert speech.read_transcript(str(tmp_path / "c.json")) == [SpeechSegment(1.0, 2.0, "hi")]
    (tmp_path / "b.vtt").write_text(f"{'9' * 5000}:00:00.000 --> 00:00:01.000\nx\n\n00:01.000 --> {'9' * 400}:00:00.000\ny\n")
    assert speech.read_transcript(str(tmp_path / "b.vtt")) == []
    (tmp_path / "d.json").write_text('[{"start": 0, "end": ' + "9" * 400 + ', "text": "x"}]')
    with pytest.raises(PoolError, match="no list of segments"):
        speech.read_transcript(str(tmp_path / "d.json"))
    (tmp_path / "d.json").write_text('{"segments": [{"start": 1}]}')
    with pytest.raises(PoolError, match=r"d\.json: no list of segments"):
        speech.read_transcript(str(tmp_path / "d.json"))


# ---- cuts


def test_segments_are_joined_up_to_a_length_and_over_no_silence():
    said = [SpeechSegment(0, 1, "a"), SpeechSegment(1.5, 2.5, "b"), SpeechSegment(6, 7, "c"), SpeechSegment(7, 30, "d")]
    joined = split_by_speech(said, 40.0, min_seconds=3.0, max_seconds=10.0, gap=1.0)
    assert [(c.start, c.end, len(c.segments)) for c in joined] == [(0, 2.5, 2), (6, 7, 1), (7, 17, 1)]
    assert [(c.start, c.end) for c in split_by_speech(said, 40.0, 0.0, 60.0, 1.0)] == [(s.start, s.end) for s in said]
    assert [c.reason for c in split_by_speech([SpeechSegment(50, 51, "late")], 40.0, 0, 60, 1)] == ["clip:beyond_the_end"]


def test_spans_between_cuts_cover_the_video_once():
    said = [SpeechSegment(0.5, 1.5, "a"), SpeechSegment(4, 6.5, "b")]
    spans = split_at_cuts([2.0, 2.3, 5.0], 25.0, said, min_seconds=0.6, max_seconds=8.0)
    assert [round(c.end, 3) for c in spans][:2] == [2.3, 5.0] and spans[0].start == 0 and spans[-1].end == 25.0
    assert all(a.end == b.start for a, b in itertools.pairwise(spans)) and max(c.end - c.start for c in spans) <= 8.0
    assert [s.text for c in spans for s in c.segments] == ["a", "b"]
    assert [(c.start, c.end) for c in split_evenly(3.0, 10.0, [])] == [(0, 3), (3, 6), (6, 9)]


def test_moments_of_frames():
    assert frame_times(2.0, 4.0, 4, 0.0, 99) == [2.25, 2.75, 3.25, 3.75]
    assert frame_times(2.0, 3.0, 0, 10.0, 99) == [round(2 + i / 10, 3) for i in range(10)]
    assert frame_times(0.0, 100.0, 0, 10.0, 4) == [0.0, 25.0, 50.0, 75.0]


def test_what_is_heard_at_a_moment():
    said = [SpeechSegment(1, 2, "a"), SpeechSegment(4, 5, "b")]
    assert [heard(said, t) for t in (0, 1.5, 2.9, 3.1, 9)] == ["a", "a", "a", "b", "b"] and heard([], 1.0) is None


# ---- media


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "mpeg4"), (".mp4", "libx264"), (".webm", "libvpx")])
def test_scene_changes_and_frames_are_those_of_the_film(tmp_path, suffix, codec):
    path = film(tmp_path / f"film{suffix}", codec=codec, sound=False)
    assert media.run_task("scenes", path, 27.0) == {"outcome": None, "cuts": list(CUTS)}
    for times in ([0.0, 1.93, 2.0, 4.96, 5.0, 7.9], [0.5, 6.99], [7.2]):  # far ones are sought
        _are_those_of_the_film(path, times)


def _are_those_of_the_film(path, times):
    found = media.run_task("frames", path, [times], 0, 95)["frames"]
    for time, (data, *size, _, _, change) in zip(times, found):
        wanted = frame(int(time * 20 + 1e-6) / 20)
        pixels = np.asarray(Image.open(io.BytesIO(data)), np.int16)
        assert size == [160, 96] and np.abs(pixels - wanted).mean() < 12, time
        assert (change is None) == (time == times[0])


def test_sound_is_that_of_the_span(tmp_path):
    found = media.run_task("sound", film(tmp_path / "film.mkv"), 3.5, 4.5, 16_000)
    with wave.open(io.BytesIO(found["wav"])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(file.readframes(99_999), np.int16)
    wanted = tone(5)[56_000:72_000]
    assert len(samples) == 16_000 and np.abs(samples.astype(int) - wanted).max() <= 1  # half a second of tone, half of silence
    assert found["level"] == pytest.approx(10 * np.log10(np.square(wanted / 32768).mean()), abs=0.02)


def test_a_playlist_in_a_video_s_clothes_reads_nothing(tmp_path):
    film(tmp_path / "secret.ts", codec="mpeg2video", sound=False)
    for name, text in (
        ("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXTINF:8,\nsecret.ts\n#EXT-X-ENDLIST\n"),
        ("b.mp4", "ffconcat version 1.0\nfile secret.ts\n"),
        ("c.mp4", "#EXTM3U\n#EXTINF:8,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"),
    ):
        (tmp_path / name).write_text(text)
        assert media.run_task("probe", str(tmp_path / name))["outcome"] == "broken", name


# ---- the source


def test_clips_are_documents_with_frames_and_speech_in_order_of_time(pool):
    source = Videos(str(pool / "talk.mkv"), frames=2)
    documents, texts, images = (rows(source, t) for t in ("documents", "texts", "images"))
    assert [(d["start"], d["end"], d["drop_reason"]) for d in documents] == [
        (0.5, 1.5, None),
        (2.2, 4.6, None),
        (6.8, 7.9, None),
    ]
    assert (
        documents[0]["url"].endswith("talk.mkv#t=0.5,1.5")
        and documents[0]["has_sound"]
        and documents[0]["video_seconds"] == 8.0
    )
    assert [t["text"] for t in texts][2] == "and put the yellow plate on the table" and {i["text"] for i in images} == {
        t["text"] for t in texts
    }
    places = sorted(
        [(i["doc_uid"], i["position"], i["at"]) for i in images] + [(t["doc_uid"], t["position"], t["start"]) for t in texts]
    )
    assert len({p[:2] for p in places}) == 9
    for uid in {d["uid"] for d in documents}:
        times = [p[2] for p in places if p[0] == uid]
        assert times == sorted(times)


def test_files_that_are_no_videos_end_in_a_reason(pool):
    reasons = {d["video"].rsplit("/", 1)[-1]: d["drop_reason"] for d in rows(Videos(str(pool / "*.*[!ntr]"), cut="whole"))}
    reasons |= {
        d["video"].rsplit("/", 1)[-1]: d["drop_reason"]
        for d in rows(Videos([str(pool / n) for n in ("cut.mkv", "noise.mp4", "empty.webm")]))
    }
    assert reasons["noise.mp4"] == reasons["empty.webm"] == "video:broken" and reasons["cut.mkv"] in (
        "video:broken",
        "video:no_duration",
        "video:no_picture",
    )
    assert reasons["mute.avi"] is None
    assert [d["drop_reason"] for d in rows(Videos(str(pool / "mute.avi")))] == ["video:no_speech"]
    assert [d["drop_reason"] for d in rows(Videos(str(pool / "mute.avi"), cut="whole", max_video=1))] == ["video:too_long"]


def test_a_table_of_clips(pool):
    table = pa.table(
        {
            "video": ["talk.mkv", "talk.mkv", "talk.mkv", "talk.mkv", "gone.mp4", "noise.mp4"],
            "start": [1.0, -1.0, 3.0, 90.0, 0.0, 0.0],
            "end": [3.0, 2.0, 3.0, 95.0, 1.0, 1.0],
            "text": ["apples", "x", "y", "z", "v", None],
        }
    )
    pq.write_table(table, pool / "clips.parquet")
    found = rows(Videos(str(pool / "clips.parquet")))
    assert [d["drop_reason"] for d in found] == [
        None,
        "clip:bad_times",
        "clip:bad_times",
        "clip:beyond_the_end",
        "video:missing",
        "video:broken",
    ]
    assert [d["source_row"] for d in found] == list(range(6))
    with pytest.raises(RecipeError, match=r"no column 'start'.*did you mean 'star'"):
        pq.write_table(pa.table({"video": ["a"], "star": [1.0]}), pool / "wrong.parquet")
        rows(Videos(str(pool / "wrong.parquet")))


@pytest.mark.parametrize(
    ("video", "reason"),
    [
        ("WEB", "video:refused"),
        ("simplecache::WEB", "video:refused"),
        ("blockcache::WEB", "video:refused"),
        ("zip://a.mp4::WEB", "video:refused"),
        ("webhdfs://HOST/a.mp4", "video:refused"),
        ("HTTP://HOST/a.mp4", "video:refused"),
        ("data:video/mp4;base64,eA==", "video:missing"),
        ("foo://a.mp4", "video:refused"),
        ("a\0b.mp4", "video:missing"),
        ("/dev/zero", "video:refused"),
        ("../c.jsonl", "video:refused"),
        ("s3://elsewhere/a.mp4", "video:refused"),
    ],
)
def test_a_row_of_a_stranger_s_table_reaches_no_server_and_costs_itself_alone(tmp_path, video, reason):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        host = f"127.0.0.1:{server.getsockname()[1]}"
        video = video.replace("WEB", f"http://{host}/a.mp4").replace("HOST", host)
        row = {"start": 0, "end": 1, "text": "hi"}
        (tmp_path / "c.jsonl").write_text("".join(json.dumps({**row, "video": v}) + "\n" for v in (video, "gone.mp4")))
        found = rows(Videos(str(tmp_path / "c.jsonl")))
        assert [d["drop_reason"] for d in found] == [reason, "video:missing"]
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_table_names_files_in_its_folder_and_in_the_roots(pool, tmp_path):
    (tmp_path / "linked").symlink_to(pool)
    clips = [{"video": v, "start": 1, "end": 3, "text": "x"} for v in (str(pool / "talk.mkv"), "linked/talk.mkv")]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(c) + "\n" for c in clips))
    reasons = lambda **how: [d["drop_reason"] for d in rows(Videos(str(tmp_path / "c.jsonl"), **how))]  # noqa: E731
    assert reasons() == ["video:refused"] * 2 and reasons(roots=(str(pool),)) == [None, None]


def test_a_store_that_is_not_installed_refuses_its_rows(tmp_path, monkeypatch):
    def missing(path):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(RecipeError, match="install gcsfs"), local_file("gs://x/y.mp4"):
        pass


def test_addresses_tell_milliseconds_apart_however_late(tmp_path):
    assert [moment(t) for t in (0.0, 12.5, 3.33333333, 999.9994)] == ["0", "12.5", "3.33333", "999.999"]  # as ever
    assert [moment(t) for t in (1000.0, 1234.567, 10000.01, 10000.04, 1e6)] == [
        "1000",
        "1234.567",
        "10000.01",
        "10000.04",
        "1000000",
    ]
    gathered = Rows("f")
    for start in (10000.01, 10000.04):
        gathered.add("v.mp4", {}, Clip(start, start + 2), [start])
    tables = gathered.tables()
    assert len(set(tables["documents"]["uid"].to_pylist())) == len(set(tables["images"]["url"].to_pylist())) == 2


def test_wrong_words_are_said_before_anything_is_read(pool):
    for wrong, message in (({"cut": "scene"}, "not by 'scene'"), ({"min_seconds": 9, "max_seconds": 3}, "9 to 3 seconds")):
        with pytest.raises(RecipeError, match=message):
            Videos(str(pool), **wrong)
    with pytest.raises(RecipeError, match="not from the web"):
        Videos("http://127.0.0.1/a.mp4")


# ---- whole runs


@pytest.mark.parametrize("name", ["videobert", "actbert", "vatt", "chatbridge"])
def test_a_recipe_runs_to_its_shards(pool, tmp_path, name):
    options = {"videobert": {"min_seconds": 1.0, "rate": 5.0}, "vatt": {"rate": 5.0, "sound_rate": 16_000}}.get(name, {})
    files = [str(pool / n) for n in ("talk.mkv", "walk.mp4", "mute.avi", "noise.mp4")]
    made = run(load(name).build(Videos(files), **options), str(tmp_path / "run"), engine="local")
    assert not made.problems and check.check(made.store) == [] and made.dataset["samples"] >= 2
    reasons = dict(made.sql("select video, drop_reason from documents where drop_reason is not null").fetchall())
    assert reasons[files[3]] == "video:broken"
    if name == "chatbridge":
        assert reasons[files[2]] == "document_seconds"
    for sample in webdataset.WebDataset(made.tars, shardshuffle=False):
        document = json.loads(sample["json"])
        assert sample["txt"].decode() == " ".join(t for t in document["texts"] if t) and document["images"].count(None) < len(
            document["images"]
        )
        assert ("wav" in sample) == bool(document.get("sound_sha256")) and document["start"] < document["end"]
        assert name != "vatt" or "wav" in sample


def test_a_damaged_sound_is_found(pool, tmp_path):
    made = run(load("chatbridge").build(Videos(str(pool / "talk.mkv"))), str(tmp_path / "run"), engine="local")
    path = tmp_path / "run/shards/00000.tar"
    with tarfile.open(path) as tar:
        place = next(m for m in tar if m.name.endswith(".wav")).offset_data + 1000
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert any(".wav: is not the sound" in fault for fault in check.check(made.store))


def test_a_codec_that_hangs_or_dies_costs_its_own_clip(pool, tmp_path, monkeypatch):
    recipe = load("actbert").build(Videos([str(pool / "talk.mkv"), str(pool / "walk.mp4")]))
    real = media.TASKS["frames"]
    monkeypatch.setattr("curate.videos.frames.media_child", lambda: Dying(real))
    made = run(recipe, str(tmp_path / "run"), engine="local")
    found = dict(made.sql("select drop_reason, count(*) from images group by all").fetchall())
    assert found.get("frames:crash", 0) > 0 and found.get(None, 0) > 0 and check.check(made.store) == []


class Dying:
    """A child that does not survive the second film."""

    def __init__(self, real):
        self.real = real

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self, what, path, *about):
        from curate.models.contained import Died

        if path.endswith("walk.mp4"):
            raise Died("crash")
        return media.run_task(what, path, *about)


def test_the_colours_of_the_film_tell_scenes_apart():
    assert len({sum(c) for c in COLOURS}) == len(COLOURS)


class Watching(BatchWriter):
    """Says how many frames it is shown, and the words between them."""

    engine, gpus, most_pictures = "watching", 0, 8

    def prepare(self, image):
        return seen(image)

    def write(self, requests, decoding):
        return [Answer(f"{len(r.pictures)} frames: {r.text}", "stop") for r in requests]


def test_clips_have_captions_of_their_own_and_their_files(pool, tmp_path):
    """The file of a clip is its packets as they are: the same pictures, from the key frame before the clip on."""
    import av

    source = Videos([str(pool / "talk.mkv"), str(pool / "walk.mp4")])
    recipe = load("clip_captions").build(source, frames=3, min_seconds=1.0, captioner="chat:any")
    recipe.synth[0].by = Watching("any")
    made = run(recipe, str(tmp_path / "run"), engine="local")
    said = made.sql("select caption_clip, caption_clip_made.finish from documents where kept").fetchall()
    assert said and all(text.startswith("3 frames: ") and finish == "stop" for text, finish in said)
    assert any("green pears & the rest" in text for text, _ in said)
    assert main(["export", str(tmp_path / "run"), "--format", "clips", "-o", str(tmp_path / "clips")]) == 0
    samples = list(webdataset.WebDataset(str(tmp_path / "clips" / "00000.tar"), shardshuffle=False).decode())
    assert len(samples) == len(said)
    for sample in samples:
        document = sample["json"]
        suffix = "mp4" if document["video"].endswith("mp4") else "mkv"
        with av.open(io.BytesIO(sample[suffix])) as clip, av.open(document["video"]) as whole:
            times = [float(f.time) for f in clip.decode(video=0)]
            span = document["end"] - document["start"]
            assert times[0] < 0.1 and document["clip_begins"] < 1.0
            assert span - 0.2 <= times[-1] - document["clip_begins"] <= span + 0.2
            wanted = next(f for f in whole.decode(video=0) if f.time >= document["start"] + 0.05)
            clip.seek(0)
            shown = next(f for f in clip.decode(video=0) if f.time >= document["clip_begins"] + 0.05 - 1e-3)
            assert np.abs(wanted.to_ndarray(format="gray").astype(int) - shown.to_ndarray(format="gray")).mean() < 3
