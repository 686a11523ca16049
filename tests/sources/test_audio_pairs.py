"""Sound files with their texts: from a list to shards that hold the files as they are, and files that are none."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from curate.errors import RecipeError
from curate.recipe import Recipe, Shards
from curate.runner.driver import run
from curate.select.where import Where
from curate.sources.audio_pairs import AudioPairs
from curate.upkeep.check import check
from curate.videos import sound_file
from curate.videos.sound_file import SoundFile

RATE = 8000
KINDS = ("flac", "mp3", "ogg", "wav")


def tone(seconds: float, level: float = 0.5, channels: int = 1) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    return np.stack([wave] * channels, axis=1)


@pytest.fixture
def listed(tmp_path):
    """A list of good and of bad files, and their rows by file."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n, kind in enumerate(KINDS):
        soundfile.write(folder / f"{kind}.{kind}", tone(0.5 + n / 4, channels=2), RATE)
    soundfile.write(folder / "still.wav", tone(0.5, level=0.0), RATE)
    soundfile.write(folder / "long.wav", tone(3.0), RATE)
    soundfile.write(folder / "none.wav", tone(0.0), RATE)
    soundfile.write(folder / "other.aiff", tone(0.5), RATE)
    soundfile.write(folder / "nan.wav", np.full(99, np.nan), RATE, subtype="FLOAT")
    (folder / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "cut.flac").write_bytes((folder / "flac.flac").read_bytes()[:-300])
    names = [*(p.name for p in sorted(folder.iterdir())), "missing.wav", "http://a.example/x.wav"]
    rows = [{"path": n, "caption": f"the sound of {n}", "n": i} for i, n in enumerate(names)]
    rows += [{"path": None, "caption": "nothing", "n": 98}, {"path": "wav.wav", "caption": None, "n": 99}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "list.parquet")
    return folder


def test_good_files_are_in_the_shards_as_they_are(listed, tmp_path):
    quiet = Where("sound_level", min=-60, name="silence", table="documents")
    recipe = Recipe(AudioPairs(f"{listed}/list.parquet"), [SoundFile(max_seconds=2), quiet], shards=Shards(size=10), name="x")
    made = run(recipe, str(tmp_path / "run"), engine="local", part_size=7)
    assert made.problems == [] and check(made.store) == []
    rows = made.sql("select * from documents").to_arrow_table().to_pylist()
    reasons = {r["audio"].rsplit("/", 1)[-1]: r["drop_reason"] for r in rows if r["source_n"] < 98}
    assert {n: r for n, r in reasons.items() if r} == {
        "still.wav": "silence",
        "long.wav": "sound_file:too_long",
        "none.wav": "sound_file:empty",
        "other.aiff": "sound_file:format",
        "nan.wav": "sound_file:broken",
        "noise.mp3": "sound_file:broken",
        "cut.flac": "sound_file:broken",
        "missing.wav": "sound_file:missing",
        "x.wav": "sound_file:refused",
    }
    assert [r["drop_reason"] for r in sorted(rows, key=lambda r: r["source_n"])[-2:]] == ["source:bad_row", "source:no_text"]
    kept = {r["uid"]: r for r in rows if r["kept"]}
    assert {r["sound_format"] for r in kept.values()} == set(KINDS)
    assert all(
        r["sound_rate"] == RATE and r["sound_channels"] == 2 and abs(r["sound_level"] + 9.03) < 0.2 for r in kept.values()
    )
    with tarfile.open(made.tars[0]) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    for uid, row in kept.items():
        kind = row["sound_format"]
        data = files[f"{uid}.{kind}"]
        assert data == (listed / f"{kind}.{kind}").read_bytes() and hashlib.sha256(data).hexdigest() == row["sound_sha256"]
        assert files[f"{uid}.txt"].decode() == f"the sound of {kind}.{kind}"
        assert json.loads(files[f"{uid}.json"])["sound_seconds"] == pytest.approx(row["sound_seconds"])
        assert soundfile.info(io.BytesIO(data)).duration == pytest.approx(row["sound_seconds"], abs=0.02)


def test_a_file_that_keeps_its_reader_busy_costs_itself(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-1, 1, 300 * RATE), RATE)
    pq.write_table(pa.table({"audio": ["a.flac"], "text": ["noise"]}), tmp_path / "list.parquet")
    monkeypatch.setattr(sound_file, "SECONDS", 0.001)
    made = run(Recipe(AudioPairs(f"{tmp_path}/list.parquet"), [SoundFile()], name="x"), str(tmp_path / "run"), engine="local")
    assert made.sql("select drop_reason from documents").fetchall() == [("sound_file:timeout",)] and made.problems == []


def test_a_list_names_files_in_its_folder_and_in_the_roots(listed, tmp_path):
    (tmp_path / "apart").mkdir()
    file = str(tmp_path / "apart" / "list.parquet")
    pq.write_table(pa.table({"audio": [str(listed / "flac.flac")], "text": ["a"]}), file)
    for roots, reason in (((), "source:refused"), ((str(listed),), None)):
        (part,) = AudioPairs(file, roots=roots).read(file, 10)
        assert part["documents"]["drop_reason"].to_pylist() == [reason]


def test_a_list_without_files_is_refused(tmp_path):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "l.parquet")
    with pytest.raises(RecipeError, match="no column 'audio' for the audio"):
        list(AudioPairs(str(tmp_path / "l.parquet")).read(str(tmp_path / "l.parquet"), 10))
