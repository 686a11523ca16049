"""Rules on the size of the original image and of its file."""

import pyarrow as pa

from curate.filters.aspect_ratio import AspectRatio
from curate.filters.image_bytes import ImageBytes
from curate.filters.image_side import ImageSide


def sizes(*pairs):
    width, height = zip(*pairs)
    return pa.table({"original_width": pa.array(width, pa.int32()), "original_height": pa.array(height, pa.int32())})


def judged(filter, live):
    table = filter.run(live)
    return table[filter.name].to_pylist(), [r is None for r in filter.judge(table).to_pylist()]


def test_the_shorter_side_counts():
    assert judged(ImageSide(), sizes((200, 900), (900, 199), (None, 300))) == ([200, 199, None], [True, False, False])


def test_longer_over_shorter_to_the_last_digit():
    scores, kept = judged(AspectRatio(), sizes((300, 100), (1000, 3001), (50, 50), (0, 7), (None, 7)))
    assert scores == [3.0, 3.001, 1.0, None, None] and kept == [True, False, True, False, False]


def test_small_files_fall():
    assert judged(ImageBytes(), pa.table({"payload_size": pa.array([4999, 5000, None], pa.int64())})) == (
        [4999, 5000, None],
        [False, True, False],
    )
