"""Prompts with several pictures: documents in page order, and a model that is made of a configuration with random weights."""

import numpy as np
import pyarrow as pa
import pytest
from synth.tiny_models import save_onevision
from synth.writers import Parrot

from curate.errors import RecipeError
from curate.models import ensure_torchvision
from curate.synth.captioners import Decoding, PendingRequest, Request, RequestLoop
from curate.synth.captioners.base import PreparedImage, Video
from curate.synth.captioners.endpoint import Endpoint
from curate.synth.captioners.hugging import ChatVlm
from curate.synth.documents import CaptionDocument, evenly


class Reader(Parrot):
    """Says what it is shown, in order: texts, and of pictures their brightness."""

    most_pictures = 3

    def write(self, requests, decoding):
        from curate.synth.captioners import Answer

        return [Answer(" ".join(map(self.spelled, r.content)), "stop") for r in requests]

    def spelled(self, part):
        if isinstance(part, Video):
            return f"[{' '.join(map(self.spelled, part.frames))}]"
        return part if isinstance(part, str) else f"<{part.data.mean():.0f}>"


class Viewer(Reader):
    takes_videos = True


def tables(count: int):
    """A document of pictures and texts in turn, one with a picture that is broken, one without, one whose picture fell."""
    images = [
        *(("a", 2 * k, f"{10 * k}", True) for k in range(count)),
        *(("b", 1, "broken", True), ("b", 2, "7", True), ("d", 0, "9", False)),
    ]
    texts = [*(("a", 2 * k + 1, f"text {k}", True) for k in range(3)), ("a", 99, "gone", False), ("c", 0, "alone", True)]
    names = ["doc_uid", "position", "payload", "live"]
    images = pa.table(list(map(list, zip(*images))), names=names)
    zeros = pa.array([0] * len(images))
    images = images.append_column("payload_offset", zeros).append_column("payload_size", zeros)
    return pa.table(list(map(list, zip(*texts))), names=["doc_uid", "position", "text", "live"]), images


def look(rows):
    return ["broken" if r["payload"] == "broken" else np.full((4, 4, 3), int(r["payload"]), np.uint8) for r in rows]


def told(stage, count=4):
    stage.load()
    texts, images = tables(count)
    live = pa.table({"uid": ["a", "b", "c", "d"]})
    found = stage.run(live, look, texts=texts, images=images)
    stage.close()
    return found.column(stage.column).to_pylist(), [m["finish"] for m in found.column(f"{stage.name}_made").to_pylist()]


def test_texts_and_pictures_are_shown_in_page_order():
    said, finish = told(CaptionDocument(Reader(), prompt="what is it", name="doc"), 3)
    assert said == ["<0> text 0 <10> text 1 <20> text 2 what is it", "<7> what is it", None, None]
    assert finish == ["stop", "stop", "bad_image", "bad_image"]


def test_no_more_pictures_than_the_model_takes_and_no_more_words_than_asked_for():
    said, _ = told(CaptionDocument(Reader(), prompt="what is it", words=3, name="doc"), 6)
    assert said[0] == "<0> text 0 text <20> <50> what is it"
    said, finish = told(CaptionDocument(Reader(), prompt="compare", least=2, pictures=2, words=0, name="doc"), 4)
    assert said[0].startswith("<0> <30> Say in one sentence what is the same") and finish[1:] == ["bad_image"] * 3
    with pytest.raises(RecipeError, match="shown at most 3 pictures, and 4 are wanted"):
        CaptionDocument(Reader(), least=4)
    assert evenly(list(range(9)), 3) == [0, 4, 8] and evenly([1, 2], 3) == [1, 2]


def test_frames_are_one_video_for_a_model_that_takes_videos():
    said, finish = told(CaptionDocument(Viewer(), prompt="what is it", pictures=4, video=True, name="doc"), 6)
    assert said[0] == "[<0> <20> <30> <50>] text 0 text 1 text 2 what is it" and said[1] == "[<7>] what is it"
    assert finish == ["stop", "stop", "bad_image", "bad_image"]
    with pytest.raises(RecipeError, match="Reader takes no videos"):
        CaptionDocument(Reader(), video=True)


def test_servers_get_a_video_as_its_frames():
    frames = Video((PreparedImage(b"one", "", 1, 1), PreparedImage(b"two", "", 1, 1)))
    (message,) = Endpoint("m").body(Request((frames, "what")), Decoding())["messages"]
    assert message["content"][0] == {"type": "video_url", "video_url": {"url": "data:video/jpeg;base64,b25l,dHdv"}}


def test_a_model_is_shown_a_video_among_pictures(tmp_path, monkeypatch):
    """Three frames are four tokens, and a picture is more."""
    save_onevision(tmp_path)
    writer, seen = ChatVlm(str(tmp_path)), []
    writer.load()
    generate = writer._model.generate
    monkeypatch.setattr(writer._model, "generate", lambda **inputs: seen.append(inputs) or generate(**inputs))
    frames = np.stack([np.full((28, 28, 3), v, np.uint8) for v in (10, 120, 240)])
    contents = {"video": (frames, "one", "what"), "words": ("two", "what"), "picture": (frames[0], "what")}
    with RequestLoop(writer, Decoding(max_tokens=4)) as asking:
        got = {g.key: g for g in asking.answers(PendingRequest(k, c, 1) for k, c in contents.items())}
    assert all(g.answer.finish in ("stop", "length") for g in got.values())
    assert [len(got[k].pictures) for k in contents] == [3, 0, 1]
    assert (got["video"].answer.tokens_in, got["words"].answer.tokens_in) == (2 + 4 + 2 + 2, 2 + 2 + 2)
    (shown,) = [i["pixel_values_videos"] for i in seen if "pixel_values_videos" in i]
    means = shown[0].flatten(1).mean(1).tolist()
    assert len(means) == 3 and means == sorted(means)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    """LLaVA with random weights: pictures of 28 pixels in four patches, words of one token, its own chat template."""
    ensure_torchvision()
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vlm")
    names = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "<image>", *"USER : ASSISTANT one two three what a the dog".split()]
    raw = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = {f"{k}_token": f"[{k.upper()}]" for k in ("pad", "unk", "bos", "eos")}
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, extra_special_tokens={"image_token": "<image>"}, **marks)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**small, image_size=28, patch_size=14, projection_dim=16),
        text_config=transformers.LlamaConfig(**small, vocab_size=len(names), pad_token_id=0, bos_token_id=2, eos_token_id=3),
        image_token_index=4,
        vision_feature_layer=-1,
    )
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    pixels = transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    template = (
        "{% for m in messages %}USER : {% for part in m['content'] %}"
        "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}ASSISTANT :"
    )
    made = transformers.LlavaProcessor(
        pixels,
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    )
    made.save_pretrained(folder)
    writer = ChatVlm(str(folder))
    writer.load()
    return writer


def test_a_vlm_is_shown_pictures_among_the_texts_by_its_own_template(vlm, monkeypatch):
    """Four marks for each picture, where it stands; the pixels in the same order."""
    seen, generate = [], vlm._model.generate
    monkeypatch.setattr(vlm._model, "generate", lambda **inputs: seen.append(inputs) or generate(**inputs))
    dark, bright = (np.full((28, 28, 3), v, np.uint8) for v in (10, 240))
    contents = [(dark, "one", bright, "what a dog"), (bright, "two three")]
    with RequestLoop(vlm, Decoding(max_tokens=4)) as asking:
        got = {g.key: g.answer for g in asking.answers(PendingRequest(i, c, i) for i, c in enumerate(contents))}
    assert all(a.finish in ("stop", "length") and a.text is not None and 0 < a.tokens <= 4 for a in got.values())
    assert {i: a.tokens_in for i, a in got.items()} == {0: 2 + 4 + 1 + 4 + 3 + 2, 1: 2 + 4 + 2 + 2}
    rows = [r for inputs in seen for r in vlm._tokenizer.batch_decode(inputs["input_ids"])]
    spoken = sorted(" ".join(r.replace("[PAD]", "").split()) for r in rows)
    mark = " ".join(["<image>"] * 4)
    assert spoken == sorted([f"USER : {mark} one {mark} what a dog ASSISTANT :", f"USER : {mark} two three ASSISTANT :"])
    means = [float(p.mean()) for inputs in seen for p in inputs["pixel_values"]]
    assert len(means) == 3 and sorted(m > 0 for m in means) == [False, True, True]


def test_a_document_is_described_by_a_vlm(vlm):
    said, finish = told(CaptionDocument(vlm, prompt="what a dog", decoding=Decoding(max_tokens=3), name="doc"), 4)
    assert [f in ("stop", "length", "empty") for f in finish] == [True, True, False, False] and said[2:] == [None, None]
