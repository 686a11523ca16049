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


def save_onevision(folder: Path) -> None:
    """A LLaVA-OneVision of two layers, for pictures of 28 pixels in four patches; of a video a frame is one token, and its end another."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    ensure_torchvision()
    import transformers

    torch.manual_seed(0)
    names = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "<image>", "<video>", *"USER : ASSISTANT one two what a dog".split()]
    raw = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = {f"{k}_token": f"[{k.upper()}]" for k in ("pad", "unk", "bos", "eos")}
    more = {"image_token": "<image>", "video_token": "<video>"}
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, extra_special_tokens=more, **marks)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = transformers.LlamaConfig(**small, vocab_size=len(names), pad_token_id=0, bos_token_id=2, eos_token_id=3)
    size, grid = {"height": 28, "width": 28}, [[28, 28]]
    config = transformers.LlavaOnevisionConfig(
        vision_config=transformers.SiglipVisionConfig(**small, image_size=28, patch_size=14),
        text_config=text,
        image_token_index=4,
        video_token_index=5,
        vision_feature_layer=-1,
        image_grid_pinpoints=grid,
    )
    transformers.LlavaOnevisionForConditionalGeneration(config).save_pretrained(folder)
    template = (
        "{% for m in messages %}USER : {% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }} "
        "{% else %}<{{ part['type'] }}> {% endif %}{% endfor %}{% endfor %}ASSISTANT :"
    )
    transformers.LlavaOnevisionProcessor(
        transformers.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grid),
        words,
        transformers.LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=template,
    ).save_pretrained(folder)
