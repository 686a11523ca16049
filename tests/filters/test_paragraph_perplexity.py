"""Perplexity by a KenLM file and by a function."""

import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.filters.paragraph_perplexity import ParagraphPerplexity

#: Every word has probability 1/10, an end of sentence 1/1000, what is unknown 1/100000; "cat" after "the" has 10 ** -0.5.
ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-5\t<unk>
-99\t<s>
-3\t</s>
-1\tthe
-1\tcat

\\2-grams:
-0.5\tthe cat

\\end\\
"""


def letters(texts):
    return [float(len(set(t))) for t in texts]


def rows(*texts):
    return pa.table({"text": pa.array(texts, pa.large_string())})


def test_a_function_is_the_model_and_its_bound_decides():
    stage = ParagraphPerplexity(max=3, model="python:test_paragraph_perplexity:letters")
    stage.load()
    made = stage.run(rows("aab", "abcd", None, " "))
    assert made["paragraph_perplexity"].to_pylist() == [2, 4, None, None]
    assert stage.judge(made).to_pylist() == [None, *["paragraph_perplexity"] * 3]
    assert stage.weights() == {"weights": stage.model}


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(RecipeError, match=r"paragraph_perplexity: no weights at /nowhere/en\.arpa"):
        ParagraphPerplexity(model="/nowhere/en.arpa").load()


def test_kenlm_s_perplexity_is_that_of_the_formula(tmp_path):
    pytest.importorskip("kenlm", reason="pip install kenlm, which is built from source")
    (tmp_path / "en.arpa").write_text(ARPA)
    stage = ParagraphPerplexity(model=str(tmp_path / "en.arpa"))
    stage.load()
    # the: 1, cat: 0.5, end: 3, over three tokens; two lines have two ends; an unknown word costs 5.
    one, two, odd = stage.run(rows("the cat", "the\ncat", "zyx"))["paragraph_perplexity"].to_pylist()
    assert (
        one == pytest.approx(10 ** (4.5 / 3), rel=1e-3)
        and two == pytest.approx(10**2, rel=1e-3)
        and odd == pytest.approx(10**4, rel=1e-3)
    )
