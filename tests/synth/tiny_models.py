"""Models of transformers' classes with random weights, in folders as a hub has them."""

from pathlib import Path
from typing import Any

from curate.models import ensure_torchvision

WORDS = "a the dog cat red blue sofa on in caption rewrite user says : . and".split()


def word_tokenizer() -> Any:
    """A tokenizer of twenty words, as transformers keeps them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "[CLS]", "[SEP]", *WORDS]
    raw = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {f"{k}_token": f"[{k.upper()}]" for k in ("pad", "unk", "bos", "eos", "cls", "sep")}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **marks)


def save_blip(folder: Path, words: Any) -> None:
    """A BLIP of one layer, for pictures of 32 pixels."""
    import torch

    ensure_torchvision()
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    marks = {"bos_token_id": 2, "eos_token_id": 5, "sep_token_id": 5, "pad_token_id": 0}
    config = BlipConfig(
        text_config={**small, "encoder_hidden_size": 16, "vocab_size": len(words), **marks},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), words).save_pretrained(folder)
