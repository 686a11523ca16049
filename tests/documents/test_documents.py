"""Documents keep order and alignment under any drops, and survive the way to a shard and back."""

import base64
import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.documents import export, windows
from curate.documents.document import document_fault, document_members, read_document
from curate.errors import PoolError
from curate.shard.members import Slice
from curate.store.payload import tar_header

ROW = {"uid": "d" * 32, "url": "https://site.org/p", "title": "T"}


def text(position, words="some words", **more):
    return {"uid": f"t{position}", "position": position, "text": words, "kind": "paragraph", "level": None, **more}


def image(position, **more):
    return {
        "uid": f"i{position}",
        "position": position,
        "url": f"https://site.org/{position}.png",
        "alt": f"alt {position}",
        "mime": "image/png",
        "payload": "p.tar",
        "payload_offset": 10 * position,
        "payload_size": 10,
        "sha256": f"{position:064x}",
        "original_width": 200,
        "original_height": 100,
        **more,
    }


def made(texts, images, meta=None):
    members = document_members(ROW, texts, images, meta or {"title": "T"})
    return json.loads(members.pop("json")), members


@st.composite
def pages(draw):
    """Kept rows of a page (any drops leave gaps in the positions), in any order, with any alignment."""
    kinds = draw(st.lists(st.sampled_from("ti "), min_size=1, max_size=25))
    words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
    texts = [text(p, draw(words)) for p, k in enumerate(kinds) if k == "t"]
    any_place = st.one_of(st.none(), st.integers(0, 25))
    images = [image(p, align_position=draw(any_place), align=0.5) for p, k in enumerate(kinds) if k == "i"]
    return draw(st.permutations(texts)), draw(st.permutations(images))


def places(texts, images):
    return sorted([(t["position"], "t", t["text"]) for t in texts] + [(i["position"], "i", i["sha256"]) for i in images])


@settings(max_examples=150, deadline=None)
@given(pages())
def test_any_drops_keep_the_order_and_the_kth_placeholder_is_the_kth_image(page):
    texts, images = page
    document, members = made(texts, images)
    assert document_fault(document) is None
    order = places(texts, images)
    assert document["positions"] == [p for p, _, _ in order]
    assert document["texts"] == [v if k == "t" else None for _, k, v in order]
    shown = [members[n].sha256 for n in document["images"] if n is not None]
    assert shown == [v for _, k, v in order if k == "i"] == [i["sha256"] for i in document["image_info"]]


@settings(max_examples=100, deadline=None)
@given(pages())
def test_an_alignment_follows_its_text_or_falls_back_on_the_next_one(page):
    texts, images = page
    document, _ = made(texts, images)
    said = [t for t in document["texts"] if t is not None]
    at = {t["position"]: t["text"] for t in texts}
    wanted = {i["sha256"]: i for i in images}
    for info in document["image_info"]:
        row = wanted[info["sha256"]]
        if row["align_position"] in at:
            assert said[info["matched_text_index"]] == at[row["align_position"]] and info["matched_sim"] == 0.5
        elif not said:
            assert info["matched_text_index"] is None
        else:
            after = sorted(p for p in at if p > row["position"]) or [max(at)]
            assert said[info["matched_text_index"]] == at[after[0]] and info["matched_sim"] is None


@settings(max_examples=60, deadline=None)
@given(pages())
def test_document_to_tar_to_document_is_lossless(page):
    texts, images = page
    members = document_members(ROW, texts, images, {"title": "T"})
    out = io.BytesIO()
    for suffix, content in members.items():
        data = content.sha256.encode() if isinstance(content, Slice) else content
        out.write(tar_header(f"{ROW['uid']}.{suffix}", len(data)) + data + b"\0" * (-len(data) % 512))
    out.write(b"\0" * 1024)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        sample = {m.name.split(".", 1)[1]: tar.extractfile(m).read() for m in tar}
    document, pictures = read_document(sample)
    assert places(texts, images) == [
        (p, "t", t) if t is not None else (p, "i", pictures.pop(0).decode())
        for p, t in zip(document["positions"], document["texts"])
    ]
    assert not pictures and (document["uid"], document["url"], document["title"]) == (ROW["uid"], ROW["url"], "T")


@settings(max_examples=100, deadline=None)
@given(pages(), st.integers(1, 40), st.integers(1, 4), st.integers(0, 5))
def test_windows_are_documents_and_never_turn_anything_round(page, tokens, images, seed):
    document, _ = made(*page)
    for window in (windows.flamingo(document, tokens, images, seed), windows.kosmos(document, images, seed=seed)):
        if window is None:
            continue
        names = [n for n in window["images"] if n is not None]
        assert 1 <= len(names) <= images and names == [i["image_name"] for i in window["image_info"]]
        assert window["positions"] == sorted(window["positions"])
        all_texts = [t for t in document["texts"] if t is not None]
        said = [t for t in window["texts"] if t is not None]
        for info, whole in zip(window["image_info"], [i for i in document["image_info"] if i["image_name"] in names]):
            if info["matched_text_index"] is not None:
                assert said[info["matched_text_index"]] in all_texts[whole["matched_text_index"]]
    assert (
        sum(len(windows.words(t)) for t in (windows.flamingo(document, tokens, images, seed) or {"texts": []})["texts"] if t)
        <= tokens
    )


def story(n=4):
    return made([text(2 * k, f"Paragraph {k} is about picture {k}.") for k in range(n)], [image(2 * k + 1) for k in range(n)])[
        0
    ]


def test_a_flamingo_window_has_its_size_and_moves_with_the_seed():
    document = made([text(0, "word " * 500), text(2, "tail " * 500)], [image(1)])[0]
    found = [windows.flamingo(document, 256, seed=s) for s in range(40)]
    assert {sum(len(windows.words(t)) for t in w["texts"] if t) for w in found if w} == {256}
    assert 5 < sum(w is None for w in found) < 38 and windows.flamingo(document, 256, seed=3) == found[3]
    assert windows.flamingo(story(8), 10_000, images=5)["images"].count(None) == 8


def test_texts_of_a_window_look_back_or_ahead_as_often():
    document = made([text(0, "a"), text(2, "b"), text(3, "c"), text(5, "d")], [image(1), image(4)])[0]
    found = [windows.flamingo({**document, "uid": f"{k:032x}"}, 100) for k in range(400)]
    assert 160 < sum(w["text_looks"] == "ahead" for w in found) < 240
    sides = {w["text_looks"]: windows.attended_images(w) for w in found}
    assert sides == {"back": [None, 0, 0, 0, 1, 1], "ahead": [0, 0, 1, 1, 1, None]}


def test_kosmos_drops_half_of_the_one_image_pages():
    one = [made([text(0)], [image(1)])[0] | {"uid": f"{k:032x}"} for k in range(400)]
    assert 160 < sum(windows.kosmos(d) is not None for d in one) < 240
    assert (
        windows.kosmos(story(8))["image_info"][-1]["image_name"] == "4.png" and windows.kosmos(made([text(0)], [])[0]) is None
    )


def test_obelics_rows():
    row = export.obelics(story(2))
    assert row["images"] == [None, "https://site.org/1.png", None, "https://site.org/3.png"]
    metadata = json.loads(row["metadata"])
    assert [m and m["alt_text"] for m in metadata] == [None, "alt 1", None, "alt 3"] and metadata[1]["original_width"] == 200
    assert metadata[1]["formatted_filename"] == "1" and metadata[1]["rendered_width"] is None and metadata[1]["format"] == "png"
    assert json.loads(row["general_metadata"])["url"] == "https://site.org/p"
    assert export.mint(story(2))["texts"] == row["texts"]


def test_obelics_joins_texts_that_follow_each_other():
    texts = [text(0, "one"), text(1, "two"), text(3, "three")]
    url = "https://site.org/img/my-red_cat%201.JPG?x=1"
    document, _ = made(texts, [image(2, mime="image/jpeg", url=url, declared_width=90)])
    row = export.obelics(document | {"source_offset": 7}, {"source_file": "a.warc.gz"})
    assert row["texts"] == ["one\n\ntwo", None, "three"] and row["images"] == [None, url, None]
    found = json.loads(row["metadata"])[1]
    assert (found["formatted_filename"], found["format"], found["rendered_width"]) == ("my red cat 1", "jpeg", 90)
    general = json.loads(row["general_metadata"])
    assert (general["warc_filename"], general["warc_record_offset"]) == ("a.warc.gz", 7)
    assert export.mint(document)["texts"] == ["one", "two", None, "three"]


def test_mmc4_has_all_cosines_where_there_are_embeddings_and_the_faces_that_were_found():
    """Without them it has the matches alone."""
    document, _ = made([text(0, "zero"), text(2, "two")], [image(1, align_position=2, align=0.8), image(3)])
    assert export.mmc4(document)["similarity_matrix"] == [[0.0, 0.8], [0.0, 1.0]]
    faces = [[0.1, 0.2, 0.5, 1.0]]
    images = [{"position": 1, "clip_image": [0.6, 0.8], "faces_boxes": []}, {"position": 3, "faces_boxes": faces}]
    texts = [{"position": 0, "clip_text": [2.0, 0.0]}, {"position": 2, "clip_text": [0.0, 1.0]}]
    made_of = export.mmc4(document, images, texts)
    assert made_of["similarity_matrix"] == [[0.6, 0.8], [0.0, 1.0]]
    assert [i["face_detections"] for i in made_of["image_info"]] == [None, faces]


def open_flamingo_pairs(sample):
    """How OpenFlamingo's loader puts tokens and tensors together: images in order of `image_info`, one for each assigned
    text, the token before the text; the k-th token in the text then meets the k-th tensor."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment([[-s for s in row] for row in sample["similarity_matrix"]])
    tensors = [base64.b64decode(sample["image_info"][r]["image_base64"]) for r in rows]
    tokens = sorted(columns)
    return {sample["text_list"][t]: data for t, data in zip(tokens, tensors)}


def test_open_flamingo_pairs_each_text_with_its_own_image_whatever_the_alignment():
    texts = [text(0, "zero"), text(1, "one"), text(2, "two")]
    images = [
        image(3, align_position=2, align=0.3),
        image(4, align_position=0, align=0.4),
        image(5, align_position=1, align=0.25),
    ]
    document, members = made(texts, images)
    sample = export.openflamingo(document, lambda name: members[name].sha256.encode())
    assert {t: int(d, 16) for t, d in open_flamingo_pairs(sample).items()} == {"zero": 4, "one": 5, "two": 3}
    matched = [i["matched_text_index"] for i in sample["image_info"]]
    assert matched == sorted(matched) and max(max(r) for r in sample["similarity_matrix"]) <= 1


def test_markdown():
    document = made(
        [text(0, "Head", kind="heading", level=1), text(2, "point", kind="list"), text(3, "x = `1`", kind="code")],
        [image(1, figcaption="A [red] cat.")],
    )[0]
    uid = "d" * 32
    assert export.markdown(document) == f"# Head\n\n![A (red) cat.](images/{uid}.0.png)\n\n- point\n\n```\nx = `1`\n```\n"


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"images": [None]}, "2 texts beside"),
        ({"texts": ["a", "b"]}, "both"),
        ({"image_info": []}, "reading order"),
        ({"texts": None}, "missing"),
    ],
)
def test_a_broken_document_is_named(change, fault):
    document = {**made([text(0)], [image(1)])[0], **change}
    if "images" in change:
        document["texts"] = ["a", "b"]
    assert fault in document_fault(document)
    with pytest.raises(PoolError, match="d" * 32):
        read_document({"json": json.dumps(document), "0.png": b""})


def test_an_image_without_bytes_or_a_member_that_is_gone_is_an_error():
    with pytest.raises(PoolError, match="uid i1"):
        document_members(ROW, [], [image(1, payload=None)], {})
    with pytest.raises(PoolError, match="no member"):
        read_document({"json": document_members(ROW, [], [image(1)], {})["json"]})
