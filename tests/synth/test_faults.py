"""Every fault is found where it is, and in none of the good captions."""

import pyarrow as pa
import pytest

from curate.synth.faults import FAULTS, CaptionFaults, CaptionStrip, compression, repeated, stripped

GOOD = (
    "A dog on a sofa",
    "a small yellow bird sits on a branch",
    "Two people walk along the beach at sunset. One carries a red umbrella.",
    "The sign reads stop",
    "A man in an apron is cooking pasta",
    "Kids playing football, one is unable to reach the ball",
    "a user's manual on a table",
    "An assistant hands tools to a surgeon",
    "Der Hund liegt auf dem Sofa",
)
BAD = {
    "missing": None,
    "empty": "... 12",
    "refusal": "I'm sorry, but I cannot describe this image.",
    "prompt_leak": "What is in it, how it looks, and how the parts lie to each other: a dog",
    "markup": "<|assistant|> a dog on a sofa",
    "repetition": "a dog on a mat and a dog on a mat and a dog on a mat and a dog on a mat",
    "same_sentence": "A dog sleeps. The sofa is red. A dog sleeps.",
    "cut_off": "A dog is lying on a sofa next to the",
    "language": "一只狗在沙发上 睡觉",
    "short": "dog",
    "long": " ".join(f"word{i}" for i in range(300)),
}


def test_good_captions_have_no_faults():
    check = CaptionFaults("caption_a", prompt="detailed")
    assert {t: check.faults(t, "stop") for t in GOOD if check.faults(t, "stop")} == {}


@pytest.mark.parametrize("fault", BAD)
def test_each_fault_is_found(fault):
    from curate.synth.prompts import prompt_text

    assert fault in CaptionFaults("caption_a", prompt=prompt_text("detailed")).faults(BAD[fault], "stop")


def test_numbers_quotes_and_names_need_a_source():
    check = CaptionFaults("caption_a", sources=("text",))
    said = 'A poster for the 1984 concert of Anna Karenina that says "Tonight only"'
    assert check.faults(said, "stop", "poster") == ["number", "quote", "person"]
    assert check.faults(said, "stop", "1984: Anna Karenina live, tonight only") == []
    assert CaptionFaults("caption_a").faults(said) == []


def test_the_token_limit_counts_only_where_no_sentence_ends():
    check = CaptionFaults("caption_a")
    assert check.faults("A dog lies on a sofa", "length") == ["cut_off"]
    assert check.faults("A dog lies on a sofa.", "length") == []


def test_the_stage_lists_faults_in_the_order_of_the_list():
    stage = CaptionFaults("caption_a", without=frozenset({"language"}))
    rows = pa.table(
        {
            "uid": ["0", "1"],
            "caption_a": ["dog", "A dog on a sofa"],
            "caption_a_made": pa.array([{"finish": "stop"}, None], pa.struct([("finish", pa.string())])),
        }
    )
    assert stage.run(rows).to_pylist() == [{"caption_a_faults": ["short"]}, {"caption_a_faults": []}]
    tests = [f for f in stage.faults("12") + stage.faults("the the the the the the the the the") if f]
    assert set(tests) <= set(FAULTS)


def test_a_refusal_by_the_server_is_a_refusal():
    assert CaptionFaults("caption_a").faults(None, "refused") == ["refusal"]


@pytest.mark.parametrize(
    "text, plain",
    [
        ("The image shows a dog on a sofa", "A dog on a sofa"),
        ("Sure! Here is a caption: a dog", "A dog"),
        ("an image of a dog", "a dog"),
        ('Caption: "A dog"', "A dog"),
        ("This photo depicts two cats.", "Two cats."),
        ("A dog on a sofa", "A dog on a sofa"),
        ("image processing on a screen", "image processing on a screen"),
        ("Captioned photo of a cat", "Captioned photo of a cat"),
        ("Captions on a board", "Captions on a board"),
        ("Description of a dog", "Description of a dog"),
        ('The image shows a sign reading "STOP"', 'A sign reading "STOP"'),
        ('"Go" and "Stop"', '"Go" and "Stop"'),
    ],
)
def test_openings_that_say_nothing_are_stripped(text, plain):
    assert stripped(text) == plain
    stage = CaptionStrip(of="caption_a", name="plain")
    assert stage.run(pa.table({"caption_a": [text]}))["caption_plain"].to_pylist() == [plain]


def test_a_refusal_with_a_curly_apostrophe_is_one():
    assert CaptionFaults("caption_a").faults("I’m afraid I can’t describe this.") == ["refusal"]


def test_a_script_without_spaces_has_words():
    check = CaptionFaults("caption_a", script="han", max_words=5)
    assert check.faults("一只橙色的猫。", "length") == [] and check.faults("猫") == ["short"]
    assert check.faults("一只橙色的猫睡在窗台上") == ["long"]


def test_measures():
    assert repeated("a b c d a b c d".split()) == pytest.approx(1 / 5)
    assert repeated(["a"]) == 0
    assert (
        compression("word " * 40)
        > 2.4
        > compression("A dog and a cat sleep on an old green sofa while rain falls outside the wide window.")
    )
