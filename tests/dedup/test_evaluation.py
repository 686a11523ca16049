import io
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curate.dedup.evaluation import Decontaminate
from curate.errors import RecipeError
from tests.dedup.pool import in_chunks, live
from tests.dedup.test_near import EDITS, picture, pool


@pytest.fixture
def benchmark_set(tmp_path):
    folder = tmp_path / "bench"
    folder.mkdir()
    for s in (3, 4):
        Image.fromarray(picture(s)).save(folder / f"{s}.jpg", quality=90)
    (folder / "3.txt").write_text("A red cat sits on the mat.")
    (folder / "4.txt").write_text("a cat")
    (folder / "broken.png").write_bytes(b"not an image")
    return folder


def pictures_and_texts():
    pictures = [picture(s) for s in range(7)] + [EDITS["mirrored crop"](picture(4)), EDITS["resize"](picture(3))]
    return pictures, ["x"] * 5 + ["a RED cat sits on the mat", "a cat", None, "y"]


def test_images_and_texts_of_a_folder(benchmark_set, tmp_path):
    pictures, texts = pictures_and_texts()
    selector = Decontaminate({"bench": str(benchmark_set)})
    selection = selector.select(pool(pictures, text=texts))
    assert selection.dropped().tolist() == [3, 4, 5, 7, 8]
    table = selection.columns.table().sort_by("id").to_pydict()
    assert table["decontaminate_match"] == ["bench: 3.jpg", "bench: 4.jpg", "bench: 3.txt", "bench: 4.jpg", "bench: 3.jpg"]
    assert min(table["decontaminate_similarity"]) >= 0.9 and selection.notes["sets"]["bench"]["images"] == 2
    again = selector.select(in_chunks(pool(pictures, text=texts), 4, str(tmp_path / "store")))
    assert again.columns.table().sort_by("id") == selection.columns.table().sort_by("id")


def test_a_crop_may_be_on_either_side(benchmark_set, tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    Image.fromarray(EDITS["crop 25 %"](picture(5))).save(folder / "5.png")
    selection = Decontaminate({"cut": str(folder)}).select(pool([picture(s) for s in range(7)], text=["x"] * 7))
    assert selection.dropped().tolist() == [5]


def test_a_webdataset(benchmark_set, tmp_path):
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for file in sorted(benchmark_set.iterdir()):
            tar.add(file, arcname=file.name)
    pictures, texts = pictures_and_texts()
    selection = Decontaminate({"tar": str(tmp_path / "set.tar")}).select(pool(pictures, text=texts))
    assert (
        selection.dropped().tolist() == [3, 4, 5, 7, 8]
        and selection.columns.table().sort_by("id")["decontaminate_match"][0].as_py() == "tar: 3.jpg"
    )


def test_embeddings(tmp_path):
    np.save(tmp_path / "e.npy", np.array([[0, 1.0], [3.0, 0]]))
    selector = Decontaminate({"emb": str(tmp_path / "e.npy")}, column="v", min=0.9)
    selection = selector.select(live(v=[[1.0, 0.1], [1.0, 1.0], None, [0.0, 0.0], [0.0, 2.0]]))
    assert selector.reads == ("v",) and selection.dropped().tolist() == [0, 4]
    assert selection.columns.table().sort_by("id")["decontaminate_match"].to_pylist() == ["emb: 1", "emb: 0"]


def test_the_sets_are_part_of_the_identity(benchmark_set):
    before = Decontaminate({"bench": str(benchmark_set)}).identity()
    (benchmark_set / "3.txt").write_text("another text of more than six words here")
    assert Decontaminate({"bench": str(benchmark_set)}).identity() != before


def test_wrong_sets_are_refused(tmp_path):
    (tmp_path / "x.bin").write_bytes(io.BytesIO(b"0" * 2000).getvalue())
    for sets in (None, {}, {"a": str(tmp_path / "nowhere")}):
        with pytest.raises(RecipeError):
            Decontaminate(sets)
    with pytest.raises(RecipeError, match="neither a folder nor a tar"):
        Decontaminate({"a": str(tmp_path / "x.bin")}).select(pool([picture(1)], text=["x"]))


@pytest.mark.parametrize("rows", [[], [None, None], [[1.0, 0.0]]])
def test_no_embeddings_on_either_side_match_nothing(tmp_path, rows):
    np.save(tmp_path / "none.npy", np.empty((0, 2)))
    np.save(tmp_path / "some.npy", [[0.0, 1.0]])
    sets = {name: str(tmp_path / f"{name}.npy") for name in ("none", "some")}
    pool = live(v=pa.array(rows, pa.list_(pa.float32())))
    assert not len(Decontaminate(sets, column="v").select(pool).dropped())


def test_a_broken_embedding_is_refused_by_its_row(tmp_path):
    np.save(tmp_path / "e.npy", [[0.0, 1.0], [np.nan, 1.0]])
    with pytest.raises(RecipeError, match="npy: row 1 has"):
        Decontaminate({"e": str(tmp_path / "e.npy")}, column="v").select(live(v=[[0.0, 1.0]]))
