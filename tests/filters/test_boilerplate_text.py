"""Captions that say nothing, and short captions that do."""

import time

import pyarrow as pa
import pytest

from curate.filters.boilerplate_text import BoilerplateText, boilerplate


@pytest.mark.parametrize(
    "text",
    [
        "IMG_2031.JPG",
        "DSC00417.jpg",
        "image",
        "Click here",
        "photo by Ann Smith",
        "Photographed on June 9, 2009",
        "https://example.com/a?b=1",
        "logo.png",
        "a3f5c2d4e6b7980123456789",
        "1920x1080",
        "2014-03-02",
        "Untitled 3",
        "stock photo",
        "image 12",
        "Read more",
        "my summer holiday.jpeg",
        "点击查看大图",
        "点击查看原图",
        "图片加载中",
        "图片加载中...",
        "返回顶部",
        "二维码",
        "扫一扫二维码",
        "欢迎关注微信公众号",
        "微信图片_20230412101530",
        "图1",
        "圖 2",
        "未标题-1",
        "QQ截图20190401",
        "查看更多",
        "加入购物车",
        "暂无图片",
        "點擊放大",
        "图片来源：新华社",
        "...",
        "",
    ],
)
def test_boilerplate(text):
    assert boilerplate(text) > 0.5


@pytest.mark.parametrize(
    "text",
    [
        "a dog",
        "red car",
        "Photo of a dog in the snow",
        "The logo of Apple on a building",
        "grapes",
        "icon of Saint Nicholas, Novgorod",
        "a banner above the street",
        "Boeing 747",
        "an arrow in the target",
        "Eine Uhr.",
        "一只橙色的猫",
        "熊猫",
        "長城",
        "图书馆",
        "图中的男孩在踢球",
        "老人在二维码前扫码付款买菜",
        "下载音乐的女孩戴着耳机",
        "来源于山间的清泉",
        "关注孩子健康的父母",
        "广告牌下的行人",
        "iPhone 15 Pro Max 手机壳",
        "Pixel art of a castle",
        "a cat.",
        "Windows 95 desktop",
    ],
)
def test_captions_that_say_something(text):
    assert boilerplate(text) <= 0.5


def test_null_is_a_drop_and_the_bound_is_half():
    table = BoilerplateText().run(pa.table({"text": pa.array(["image", "a dog", None], pa.large_string())}))
    assert BoilerplateText().judge(table).to_pylist() == ["boilerplate_text", None, "boilerplate_text"]


@pytest.mark.parametrize(
    "text", ["x " * 5000, "a." * 5000, "1 " * 5000, "click " * 5000, "[" * 5000, "photo " * 3000, "-_" * 5000]
)
def test_no_text_takes_long(text):
    started = time.process_time()
    boilerplate(text)
    assert time.process_time() - started < 0.5


def test_what_arrow_passes_over_has_no_boilerplate():
    """The quick look finds all that the pattern finds: in the planted texts, and in words and marks thrown together."""
    import random

    from curate.extras.demo.faults import BOILERPLATE
    from curate.filters.boilerplate_text import _PHRASES
    from tests.laws import TEXTS

    rng, pieces = (
        random.Random(0),
        [
            "фото.jpg",
            "é_12",
            "٣٤٥",
            "x",
            "©",
            "ﬁn.PNG",
            "IMG",
            "http://ü",
            "\n",
            "12×34 px",
            "Kelvin ſpacer",
            "PİXEL",
            "thumbnaıl",
            "ab12" * 5,
            "cat",
            "-",
            "'",
            "[object Object]",
            *BOILERPLATE,
            *TEXTS,
            *(p.replace("\\", "").replace("(?:", "").replace(")", "").replace("?", "") for p in _PHRASES),
        ],
    )
    texts = [rng.choice((" ", "", ", ")).join(rng.choices(pieces, k=rng.randint(1, 4))) for _ in range(5000)]
    assert BoilerplateText().score(pa.table({"text": pa.array(texts, pa.large_string())})) == [boilerplate(t) for t in texts]
