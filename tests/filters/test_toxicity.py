"""Toxicity: a hook for models."""

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.filters.language import packaged
from curate.filters.toxicity import Toxicity
from curate.models import ensure_torchvision


def swearing(texts: list[str]) -> list[float]:
    return [0.9 if "damn" in t else 0.05 for t in texts]


def scored(filter, *texts):
    filter.load()
    table = filter.run(pa.table({"text": pa.array(texts, pa.large_string())}))
    return table["toxicity"].to_pylist(), filter.judge(table).to_pylist()


def test_a_function_of_the_users():
    scores, reasons = scored(Toxicity(model="python:test_toxicity:swearing"), "a dog", "damn dog", None)
    assert scores[2] is None and np.allclose(scores[:2], [0.05, 0.9], atol=1e-3)
    assert reasons == [None, "toxicity", "toxicity"]


def test_a_fasttext_file_and_its_labels():
    model = str(packaged())  # any classifier will do: here the label is English
    scores, _ = scored(
        Toxicity(model=model, labels=("en",)), "A bunch of grapes on a wooden table.", "Der Eiffelturm bei Nacht"
    )
    assert scores[0] > 0.5 > scores[1]


@pytest.mark.parametrize(
    "model, says",
    [
        ("python:nowhere:f", "nowhere"),
        ("python:test_toxicity:nothing", "nothing"),
        ("python:test_toxicity", "python"),
        ("", "give a file"),
    ],
)
def test_a_model_that_is_not_there(model, says):
    with pytest.raises(RecipeError, match=f"toxicity: .*{says}"):
        Toxicity(model=model).load()


def test_a_classifier_in_the_hubs_format(tmp_path):
    ensure_torchvision()
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(0)
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "damn"]))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=1.0,
        id2label={0: "neutral", 1: "toxic"},
        label2id={"neutral": 0, "toxic": 1},
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    one, _ = scored(Toxicity(model=str(tmp_path)), "a dog", "a dog, a damn dog")
    other, _ = scored(Toxicity(model=str(tmp_path), labels=("neutral",)), "a dog", "a dog, a damn dog")
    assert np.allclose(np.add(one, other), 1, atol=2e-3) and one[0] != one[1]
    assert (
        0 <= scored(Toxicity(model=str(tmp_path)), "a dog " * 400)[0][0] <= 1
    )  # the tokenizer names no limit, the model has 512
    with pytest.raises(RecipeError, match="its labels are neutral, toxic, not rude"):
        Toxicity(model=str(tmp_path), labels=("rude",)).load()
