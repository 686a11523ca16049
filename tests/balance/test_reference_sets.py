import numpy as np
import pyarrow as pa
import pytest

from curate.balance.clusters import ClusterBalance
from curate.balance.image_based import ImageBased, NormSim
from curate.balance.text_based import TextBased, read_synsets
from curate.errors import RecipeError
from curate.sources.wordnet import wordnet_of, wordnet_table
from tests.dedup.pool import live
from tests.dedup.pool import rows as rows_of

INDEX = {
    "noun": "cat n 2 1 @ 2 1 02121620 10153414\ncar n 1 1 @ 1 1 02958343\ncity n 1 0 1 1 08524735\nsports_car n 1 0 1 0 04285008\n"
    "man n 1 0 1 1 10287213\nleaf n 1 0 1 1 13152742\n",
    "verb": "run v 1 0 1 1 01926311\ncar v 1 0 1 0 00000001\nbake v 1 0 1 1 00319886\n",
    "adj": "red a 1 0 1 1 00381097\n",
    "adv": "fast r 1 0 1 1 00085811\n",
}
EXCEPTIONS = {"noun": "oxen ox\nleaves leaf\n", "verb": "ran run\n", "adj": "", "adv": ""}


@pytest.fixture
def wordnet(tmp_path):
    for part, text in INDEX.items():
        (tmp_path / f"index.{part}").write_text("  1 This is the licence.  \n" + text)
        (tmp_path / f"{part}.exc").write_text(EXCEPTIONS[part])
    return str(tmp_path)


def test_first_synset(wordnet):
    words = wordnet_of(wordnet_table(wordnet))
    assert words.offset("Cat") == words.offset("cats") == 2121620
    assert words.offset("car") == 2958343  # the noun comes before the verb
    assert words.offset("cities") == 8524735 and words.offset("men") == 10287213
    assert words.offset("leaves") == 13152742 and words.offset("ran") == 1926311
    assert words.offset("baking") == 319886 and words.offset("redder") is None and words.offset("fast") == 85811
    assert words.offset("bakeds") == 319886  # stripped twice, as NLTK 3.8.1 (DataComp's) does and 3.10 does not
    assert words.offset("oxen") is None and words.offset("xyzzy") is None


def test_text_based(wordnet, tmp_path):
    (tmp_path / "synsets.txt").write_text("n02121620\n10287213\n")
    texts = ["two cats", "a car", "The MEN run", None, "cat,", "sports car"]
    selection = TextBased(str(tmp_path / "synsets.txt"), wordnet).select(live(text=texts))
    assert list(selection.dropped()) == [1, 3, 4, 5]  # "cat," is not a word: DataComp cuts at white space only
    with pytest.raises(RecipeError):
        read_synsets(str(tmp_path / "nowhere"))
    with pytest.raises(RecipeError, match="wordnet-base"):
        wordnet_table(str(tmp_path / "nowhere"))
    with pytest.raises(RecipeError):
        TextBased()


def save(path, vectors):
    np.save(path, np.array(vectors, np.float32))
    return str(path)


def test_image_based(tmp_path):
    centroids = save(tmp_path / "c.npy", np.eye(3))
    reference = save(tmp_path / "r.npy", [[0.9, 0.1, 0], [0.1, 0, 0.9]])
    rows = live(v=[[1.0, 0.1, 0], [0, 1.0, 0], [0, 0.2, 1.0], None])
    selection = ImageBased(reference, "v", centroids=centroids, device="cpu").select(rows)
    assert list(selection.dropped()) == [1, 3] and selection.notes["clusters_hit"] == 2
    assert selection.notes["device"] == "cores"
    assert rows_of(selection.columns) == {"id": [0, 1, 2], "image_based_cluster": [0, 1, 2]}
    with pytest.raises(RecipeError, match="does not fit"):
        ImageBased(save(tmp_path / "w.npy", np.eye(4)), "v", centroids=centroids).select(rows)


def test_norm_sim(tmp_path):
    target = save(tmp_path / "t.npy", [[2.0, 0], [0, 1.0]])
    rows = live(v=[[1.0, 0], [1.0, 1.0], [-1.0, 0], None])
    largest = NormSim(target, "v", min=0.5).select(rows)
    assert list(largest.dropped()) == [2, 3]
    assert np.allclose(rows_of(largest.columns)["norm_sim"], [1, 0.5**0.5, 0], atol=1e-3)
    both = NormSim(target, "v", p=2, fraction=0.4).select(rows)
    assert np.allclose(rows_of(both.columns)["norm_sim"], [1, 1, 1], atol=1e-3) and list(both.dropped()) == [3]
    assert list(NormSim(target, "v", fraction=0.34).select(rows).dropped()) == [2, 3]
    for wrong in ({"fraction": 0.1, "min": 0.1}, {}, {"min": 0.1, "p": 3}):
        with pytest.raises(RecipeError):
            NormSim(target, "v", **wrong)


@pytest.mark.parametrize("rows", [[], [None, None]])
def test_a_pool_without_embeddings(tmp_path, rows):
    file = save(tmp_path / "r.npy", np.eye(3))
    selectors = (
        ImageBased(file, "v", clusters=2),
        ImageBased(file, "v", centroids=file),
        NormSim(file, "v", fraction=0.5),
        ClusterBalance(1, "v", centroids=file),
    )
    for selector in selectors:
        pool = live(v=pa.array(rows, pa.list_(pa.float32())))
        assert list(selector.select(pool).dropped()) == list(range(len(rows)))


def test_reference_files_with_nan_or_nothing_in_them_are_refused(tmp_path):
    centroids, rows = save(tmp_path / "c.npy", np.eye(2)), live(v=[[1.0, 0], [0, 1.0]])
    for vectors, said in (([[1.0, 0], [np.nan, 0]], "row 1"), (np.empty((0, 2)), "no vectors")):
        file = save(tmp_path / "r.npy", vectors)
        selectors = (
            ImageBased(file, "v", centroids=centroids),
            NormSim(file, "v", min=0.5),
            ClusterBalance(1, "v", centroids=file),
        )
        for selector in selectors:
            with pytest.raises(RecipeError, match=f"r.npy: {said}"):
                selector.select(rows)
