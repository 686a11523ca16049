"""White space, and boilerplate at the ends of captions."""

import pyarrow as pa
import pytest

from curate.filters.caption_chars import CaptionChars
from curate.filters.clean_caption import CleanCaption, cropped


def test_white_space_is_squeezed():
    texts = ["  a  dog\n\ton\u00a0grass ", "a dog on grass", "", " \n", None]
    found = CleanCaption().run(pa.table({"text": pa.array(texts, pa.large_string())}))
    assert found["chosen_text"].to_pylist() == ["a dog on grass", "a dog on grass", "", "", None]
    assert CaptionChars(of="chosen_text").run(found)["caption_chars"].to_pylist() == [14, 14, 0, 0, None]


@pytest.mark.parametrize(
    "text, rest",
    [
        ("A red door, photographed on 2019-04-01", "A red door"),
        ("Old mill at the river stock photo", "Old mill at the river"),
        ("Click to enlarge: the bridge of the town", "the bridge of the town"),
        ("The bridge of the town - click here", "The bridge of the town"),
        ("Sunset over the sea | Getty | Photo by Ann Smith", "Sunset over the sea | Getty"),
        ("IMG_2031.JPG - two dogs in the snow", "two dogs in the snow"),
        ("Two dogs in the snow (1920x1080)", "Two dogs in the snow"),
        ("老桥和河流，点击查看大图", "老桥和河流"),
        # Sentences of which such words are a part.
        ("He wants to read more", "He wants to read more"),
        ("A red arrow", "A red arrow"),
        ("The logo of Apple on a building", "The logo of Apple on a building"),
        ("Boeing 747", "Boeing 747"),
        ("A castle photographed in winter", "A castle photographed in winter"),
        # Nothing else is there: BoilerplateText drops these.
        ("stock photo", "stock photo"),
        ("IMG_2031.JPG", "IMG_2031.JPG"),
    ],
)
def test_boilerplate_at_the_ends_is_cropped(text, rest):
    assert cropped(text) == rest
