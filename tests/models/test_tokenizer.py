"""Tokenizers by file: texts are cut into pieces that join again, and no text brings a special token."""

import pytest

from curate.errors import RecipeError
from curate.models.tokenizer import tokenizer

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture
def file(tmp_path):
    """A byte-level tokenizer that was trained on a sentence, in a folder."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=letters, show_progress=False)
    made.train_from_iterator(["a dog on a sofa, a dog on a mat"] * 4, trainer)
    made.enable_truncation(3)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("text", ["a dog on a sofa", "ünï ☃ 猫 on a mat", "", " \n a", "<image> a <s>"])
def test_pieces_join_to_the_text_and_no_text_is_a_special_token(file, text):
    known = tokenizer(str(file))
    marks = known.special(["<image>", "<s>"])
    assert "".join(known.spans(text)) == text and len(known.spans(text)) <= len(known.ids(text))
    assert known.inner.decode(known.ids(text)) == text and not set(known.ids(text)) & set(marks.values())


def test_special_tokens_are_added_once_and_saved(file, tmp_path):
    known = tokenizer(str(file / "tokenizer.json"))
    size = known.inner.get_vocab_size()
    assert known.special(["<image>"]) == {"<image>": size} == known.special(["<image>"])
    known.save(tmp_path / "more.json")
    assert tokenizer(str(tmp_path / "more.json")).special(["<image>"]) == {"<image>": size}


def test_a_file_that_is_none_is_said(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(RecipeError, match="neither a tokenizer"):
        tokenizer(str(tmp_path))
