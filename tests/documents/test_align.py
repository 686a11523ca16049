"""Images meet paragraphs: by assignment, by best cosine, by position; the cosine is always between 0 and 1."""

import numpy as np
import pyarrow as pa
import pytest

from curate.documents.align import Align
from curate.errors import RecipeError

#: The embedding of paragraph k is the k-th unit vector.
TEXTS = pa.table(
    {
        "doc_uid": ["a", "a", "a", "b"],
        "position": pa.array([0, 2, 5, 0], pa.int32()),
        "live": [True, True, True, True],
        "clip_text": pa.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], pa.list_(pa.float16(), 3)),
    }
)


def aligned(vectors, mode="assign", texts=TEXTS, pages=None, positions=None, **options):
    n = len(vectors)
    live = pa.table(
        {
            "uid": [str(i) for i in range(n)],
            "doc_uid": pages or ["a"] * n,
            "position": pa.array(positions or list(range(1, 2 * n, 2)), pa.int32()),
            "clip_image": pa.array(vectors, pa.large_list(pa.float32())),
        }
    )
    stage = Align(mode=mode, model="ViT-X", **options)
    table = stage.run(live, texts=texts)
    assert table.schema == pa.schema(list(stage.adds().items()))
    return table.to_pydict(), stage.judge(table).to_pylist()


def test_assignment_spreads_images_where_the_maximum_piles_them_up():
    both = [[1.0, 0.9, 0], [1.0, 0.1, 0]]
    assert aligned(both, "max")[0]["align_position"] == [0, 0]
    table, _ = aligned(both, "assign")
    assert table["align_position"] == [2, 0] and table["align_model"] == ["ViT-X"] * 2
    assert table["align"][1] == pytest.approx(1 / np.hypot(1, 0.1), abs=1e-3)


def test_surplus_images_go_to_their_best_paragraph():
    table, _ = aligned([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.9, 0.1]])
    assert table["align_position"] == [0, 2, 5, 2]


def test_dom_order_takes_the_next_paragraph_and_at_the_end_the_last():
    table, _ = aligned([[1, 0, 0]] * 3, "dom", positions=[1, 3, 6])
    assert table["align_position"] == [2, 5, 5] and table["align"] == [0, 0, 0]


def test_cosines_are_between_zero_and_one_and_a_minimum_drops():
    table, reasons = aligned([[-5, 0, 0], [0, 0, 7]], "max", min=0.15)
    assert table["align"] == [0, 1] and reasons == ["align", None]


def test_dead_paragraphs_and_other_pages_do_not_count():
    texts = TEXTS.set_column(2, "live", pa.array([False, True, True, False]))
    table, reasons = aligned([[1, 0.1, 0], [1, 0, 0], [0, 1, 0]], "max", texts, pages=["a", "b", "none"], min=0.0)
    assert table["align_position"] == [2, None, None] and reasons == [None, "align", "align"]
    assert aligned([[1, 0, 0]], "max", texts, pages=["b"])[1] == [None]


def test_rows_without_an_embedding_and_no_rows_at_all():
    table, _ = aligned([None, [0, 1, 0]], "max")
    assert table["align"] == [None, 1] and table["align_position"] == [None, 2]
    assert aligned([])[0]["align"] == []


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    vectors, order = rng.normal(size=(6, 3)).tolist(), [4, 2, 0, 5, 1, 3]
    one, _ = aligned(vectors, positions=list(range(6)))
    two, _ = aligned([vectors[i] for i in order], positions=order)
    assert [one["align_position"][i] for i in order] == two["align_position"]


def test_an_unknown_mode_is_refused():
    with pytest.raises(RecipeError, match="sideways"):
        Align(mode="sideways")


def test_negative_cosines_count_in_the_assignment():
    """Clipped to 0 before it, both images might have either paragraph."""
    table, _ = aligned([[0.1, -0.9, 0.4], [0.1, -0.1, 0.98]], "assign", TEXTS.slice(0, 2))
    assert table["align_position"] == [0, 2] and table["align"][1] == 0
