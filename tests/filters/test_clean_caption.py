"""White space, and boilerplate at the ends of captions."""

import io
import tarfile

import pyarrow as pa
import pytest
from small_run import photo

from curate.fetch.stage import Fetch
from curate.filters.boilerplate_text import BoilerplateText
from curate.filters.caption_chars import CaptionChars
from curate.filters.clean_caption import CleanCaption, cropped
from curate.recipe import Recipe
from curate.runner.driver import run
from curate.sources.webdataset import WebDataset


def test_white_space_is_squeezed():
    texts = ["  a  dog\n\ton\u00a0grass ", "a dog on grass", "", " \n", None]
    found = CleanCaption().run(pa.table({"text": pa.array(texts, pa.large_string())}))
    assert found["chosen_text"].to_pylist() == ["a dog on grass", "a dog on grass", "", "", None]


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


def test_filters_are_asked_of_the_cleaned_text_and_shards_have_it(tmp_path):
    texts = ["horse, photographed on 2019-04-01", "stock photo", "  a   dog  ", "a cat"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i, text in enumerate(texts):
            for suffix, data in (("jpg", photo(i)), ("txt", text.encode())):
                member = tarfile.TarInfo(f"{i}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    rules = [BoilerplateText(), CaptionChars(min=5)]
    score = [CleanCaption(crop=True), *(r.reading("chosen_text") for r in rules), Fetch()]
    made = run(Recipe(WebDataset(str(tmp_path / "a.tar")), score), str(tmp_path / "run"), engine="local")
    found = made.sql("select chosen_text, caption_chars, drop_reason from images order by source_row").fetchall()
    assert found == [("horse", 5, None), ("stock photo", None, "boilerplate_text"), ("a dog", 5, None), ("a cat", 5, None)]
    with tarfile.open(next((tmp_path / "run" / "shards").glob("*.tar"))) as tar:
        captions = {tar.extractfile(m).read() for m in tar if m.name.endswith(".txt")}
    assert captions == {b"horse", b"a dog", b"a cat"}
    plain = BoilerplateText()
    assert plain.identity() != BoilerplateText().reading("chosen_text").identity() and plain.reads == ("text",)
