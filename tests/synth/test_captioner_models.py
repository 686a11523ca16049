"""The captioners over real model classes with random weights: what is asked reaches the model, and each row stands alone."""

import ast
import json
import sys

import numpy as np
import pytest
from synth import stand_in_vllm
from synth.tiny_models import save_blip, word_tokenizer

from curate.synth.captioners import Decoding, PendingRequest, Request, RequestLoop
from curate.synth.captioners.hugging import ChatText, ImageToText, downscale
from curate.synth.captioners.local import Coca
from curate.synth.captioners.vllm import Vllm

DRAWN = Decoding(temperature=1.0, max_tokens=6)


def pictures(n):
    return [np.random.default_rng(i).integers(0, 255, (40, 50, 3), np.uint8) for i in range(n)]


def alone_and_together(writer, prompt, decoding, seen):
    requests = [Request((s, prompt), seed) for seed, s in enumerate(seen)]
    together = writer.write(requests, decoding)
    assert [writer.write([r], decoding)[0].text for r in requests] == [a.text for a in together]
    assert all(a.finish in ("stop", "length") and 0 < a.tokens <= decoding.max_tokens for a in together)
    return [a.text for a in together]


COCA = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "head_width": 16,
            "patch_size": 16,
            "attentional_pool": True,
            "attn_pooler_heads": 2,
            "output_tokens": True,
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
            "embed_cls": True,
            "output_tokens": True,
        },
        "multimodal_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
            "attn_pooler_heads": 2,
        },
        "custom_text": True,
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}


@pytest.fixture(scope="module", autouse=True)
def torchvision():
    """Whatever is imported first: a torchvision of another build than torch's must not stop it."""
    from curate.models import ensure_torchvision

    ensure_torchvision()


@pytest.fixture(scope="module")
def coca(tmp_path_factory):
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("coca")
    (folder / "open_clip_config.json").write_text(json.dumps(COCA))
    model = open_clip.CoCa(**{k: v for k, v in COCA["model_cfg"].items() if k != "custom_text"})
    for tower in (model.text, model.text_decoder):  # open_clip leaves these as the memory was
        for name in ("cls_emb", "positional_embedding", "text_projection"):
            if isinstance(getattr(tower, name, None), torch.nn.Parameter):
                torch.nn.init.normal_(getattr(tower, name), std=0.2)
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    writer = Coca(str(folder))
    writer.load()
    return writer


def test_coca_draws_for_each_picture_alone(coca):
    seen = [coca.prepare(p) for p in pictures(3)]
    assert (seen[0].width, seen[0].height) == (32, 32) and seen[0].sha256 != seen[1].sha256
    texts = alone_and_together(coca, "", DRAWN, seen)
    assert len(set(texts)) == 3
    assert coca.weights().startswith("sha256:") and coca.version().startswith("open_clip_torch 3")


def test_coca_beams(coca):
    (text,) = alone_and_together(coca, "", Decoding(beams=2, max_tokens=4), [coca.prepare(pictures(1)[0])])
    assert isinstance(text, str)


@pytest.fixture(scope="module")
def words():
    return word_tokenizer()


@pytest.fixture(scope="module")
def chat(tmp_path_factory, words):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("chat")
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.chat_template = "{% for m in messages %}user says : {{ m['content'] }}{% endfor %}"
    words.save_pretrained(folder)
    writer = ChatText(str(folder))
    writer.load()
    return writer


def test_a_chat_model_without_eyes(chat):
    requests = [Request((p,), 7) for p in ("the red dog", "a cat on the blue sofa and a dog")]
    together = chat.write(requests, DRAWN)
    assert [chat.write([r], DRAWN)[0].text for r in requests] == [a.text for a in together]
    assert [a.tokens_in for a in together] == [6, 12]
    assert chat.write(requests, DRAWN) == together
    assert chat.write([Request(("the red dog",), 8)], DRAWN)[0].text != together[0].text
    assert chat.write(requests, Decoding(max_tokens=3))[0].tokens <= 3
    assert chat.weights().startswith("sha256:")


def test_a_chat_model_s_own_settings_do_not_count(chat):
    plain = chat.write([Request(("the red dog",), 7)], Decoding(max_tokens=8))
    settings = chat._model.generation_config
    before = settings.to_dict()
    settings.update(repetition_penalty=5.0, no_repeat_ngram_size=1, min_new_tokens=8)
    try:
        assert chat.write([Request(("the red dog",), 7)], Decoding(max_tokens=8)) == plain
    finally:
        settings.update(**before)


def test_image_to_text(tmp_path_factory, words):
    folder = tmp_path_factory.mktemp("blip")
    save_blip(folder, words)
    writer = ImageToText(str(folder), largest=32)
    writer.load()
    seen = [writer.prepare(p) for p in pictures(3)]
    assert (seen[0].width, seen[0].height) == (32, 26)
    alone_and_together(writer, "", DRAWN, seen)
    alone_and_together(writer, "", Decoding(beams=2, max_tokens=5), seen)


def test_pictures_are_never_made_larger():
    image = pictures(1)[0]
    assert downscale(image, 0) is image and downscale(image, 50) is image and downscale(image, 25).shape == (20, 25, 3)


def test_vllm_is_asked_with_the_seed_the_pictures_and_the_bounds(monkeypatch):
    asked = {}
    for name, module in stand_in_vllm.modules(stand_in_vllm.Engine(asked)).items():
        monkeypatch.setitem(sys.modules, name, module)
    writer = Vllm("org/model", largest=25, images=2, tensor=2, pipeline=2, lora="mine=/adapters/mine")
    assert writer.gpus == 4 and writer.identity() == Vllm("org/model", largest=25, images=2, lora=writer.lora).identity()
    writer._template = lambda turns, **_: str(turns)
    schema = {"type": "object"}
    wanted = [PendingRequest("two", (pictures(1)[0], "and", pictures(2)[1], "what"), 5), PendingRequest("none", ("why",), 6)]
    wanted.append(PendingRequest("video", (np.stack(pictures(3)), "who"), 7))
    with RequestLoop(writer, Decoding(temperature=1.0, max_tokens=6, schema=schema)) as asking:
        found = {g.key: g for g in asking.answers(wanted)}
    answer = found["two"].answer
    assert (answer.text, answer.finish, answer.tokens, answer.tokens_in) == ("a dog", "length", 2, 9)
    assert [(p.width, p.height) for p in found["two"].pictures] == [(25, 20)] * 2
    engine = asked["engine"]
    assert (engine.model, engine.tensor_parallel_size, engine.pipeline_parallel_size) == ("org/model", 2, 2)
    assert engine.enable_prefix_caching and engine.enable_lora and engine.limit_mm_per_prompt == {"image": 2}
    assert engine.distributed_executor_backend is None
    two, none, video = sorted(asked["requests"], key=lambda r: r[1].seed)
    assert [v.shape for v in video[0]["multi_modal_data"].pop("video")] == [(3, 20, 25, 3)] and "'video'" in video[0]["prompt"]
    assert two[1].seed == 5 and two[1].top_k <= 0 and two[1].structured_outputs.json == schema
    assert [p.size for p in two[0]["multi_modal_data"]["image"]] == [(25, 20)] * 2
    assert [part["type"] for part in ast.literal_eval(two[0]["prompt"])[0]["content"]] == ["image", "text", "image", "text"]
    assert (two[3].lora_name, two[3].lora_path) == ("mine", "/adapters/mine") and two[2] != none[2] and asked["shutdown"]
    assert ast.literal_eval(none[0]["prompt"]) == [{"role": "user", "content": "why"}] and "multi_modal_data" not in none[0]
