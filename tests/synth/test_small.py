"""The small captioner: its committed weights, its words, CIDEr; the models themselves only where the small CLIP is in the
cache."""

import numpy as np
import pytest

from benchmarks.cider import cider
from curate.models.packages import PACKAGES, cache
from curate.synth.captioners import Decoding, Request
from curate.synth.captioners.local import Small


def test_the_committed_weights_fit_and_words_come_back():
    from curate.synth.captioners.small import load

    decoder, words = load(Small().path())
    assert sum(p.numel() for p in decoder.parameters()) == 2_360_512
    assert len(words.words) == 2500 and words.words[:3] == ["[PAD]", "[START]", "[END]"]
    for text in ("woman police officer", "flag belgium", "a red fire engine"):
        assert words.spell(words.tokens(text)) == text


def test_the_decoder_looks_at_the_picture_and_not_ahead():
    import torch

    from curate.synth.captioners.small import load

    decoder, _ = load(Small().path())
    torch.manual_seed(0)
    one, other = decoder.prefix(torch.randn(2, 1280)).split(1)
    tokens = torch.tensor([[1, 50, 60, 70]])
    changed = torch.tensor([[1, 50, 60, 99]])
    with torch.inference_mode():
        assert torch.equal(decoder(tokens, one)[:, :3], decoder(changed, one)[:, :3])
        assert not torch.allclose(decoder(tokens, one), decoder(tokens, other))


def drawing(colour, face):
    """A round face, or a flag of three stripes."""
    picture = np.full((128, 128, 3), 255, np.uint8)
    if not face:
        picture[30:52, 10:118], picture[74:96, 10:118] = colour, (200, 0, 0)
        return picture
    y, x = np.mgrid[-64:64, -64:64]
    picture[x * x + y * y < 3400] = colour
    for at in (-20, 20):
        picture[(x - at) ** 2 + (y + 15) ** 2 < 60] = 0
    picture[(abs(x * x + y * y - 1200) < 120) & (y > 8)] = 0
    return picture


@pytest.mark.skipif(
    not all((cache() / PACKAGES[p].folder / "package.json").exists() for p in ("minilm", "efficientnet", "skimage")),
    reason="the small CLIP's packages are not in the cache",
)
def test_pictures_get_captions_of_their_own():
    from curate.models import clip

    writer = Small()
    writer.load()
    pictures = [drawing((255, 200, 0), True), drawing((0, 90, 200), False)]
    seen = [writer.prepare(p) for p in pictures]
    together = writer.write([Request((s,), 3) for s in seen], Decoding(max_tokens=8))
    assert [writer.write([Request((s,), 3)], Decoding(max_tokens=8))[0].text for s in seen] == [a.text for a in together]
    assert all(a.text and a.finish in ("stop", "length") for a in together) and together[0].text != together[1].text
    assert clip("small").dim == 384


def test_cider_is_ten_for_the_reference_and_nought_for_strangers():
    references = [["a red dog on a sofa"], ["two blue cats in a tree"], ["an old green car by the sea"]]
    assert cider([r[0] for r in references], references) == pytest.approx(10)
    assert cider(["x y z w v"] * 3, references) == 0
    near = cider(["a red dog on a chair", "two blue cats in a tree", "an old green car by the sea"], references)
    assert 0 < near < 10
    assert cider(["a red dog on a sofa a red dog on a sofa", *(r[0] for r in references[1:])], references) < 10
    assert cider(["a in on a sofa red dog", *(r[0] for r in references[1:])], references) < 10
