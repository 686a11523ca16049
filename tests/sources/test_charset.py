"""Charsets of pages: labels, prescan and precedence as the standards have them, and what is guessed."""

import re
from pathlib import Path

import pytest

from curate.sources.html import charset
from curate.sources.html.extract import extract

PUBLISHED = Path(__file__).parent.parent / "data" / "html5lib_encoding"

#: A sentence each, and the encoding in which the web wrote it before UTF-8.
SENTENCES = {
    "fr": ("cp1252", "Le vieux pont traverse la rivière près du moulin, et les jours de marché les habitants y passent."),
    "de": ("cp1252", "Die alte Brücke führt bei der Mühle über den Fluss, und an Markttagen kommen die Leute herüber."),
    "es": (
        "cp1252",
        "El viejo puente cruza el río cerca del molino; lo construyó un albañil que aprendió su oficio en España.",
    ),
    "it": ("cp1252", "È stato costruito da un muratore che aveva imparato il mestiere più a nord, perché lì c'era la città."),
    "sv": ("cp1252", "Den gamla bron går över ån nära kvarnen, och på marknadsdagar kommer folk med kärror full av äpplen."),
    "pl": ("cp1250", "Stary most przechodzi przez rzekę w pobliżu młyna, a w dni targowe ludzie z wiosek przejeżdżają po nim."),
    "pl, ISO": (
        "iso8859-2",
        "Są też śliwki: stary most przechodzi przez rzekę w pobliżu młyna, a ludzie z wiosek przejeżdżają.",
    ),
    "cs": ("cp1250", "Starý most vede přes řeku u mlýna a o trzích po něm přicházejí lidé z vesnic s vozy plnými jablek."),
    "hr": ("cp1250", "Sagradio ga je zidar koji je naučio svoj zanat na sjeveru. Kažu da će još dugo stajati, što nije čudno."),
    "tr": ("cp1254", "Eski köprü değirmenin yanında nehri geçer ve pazar günlerinde köylerden insanlar üzerinden gelirler."),
    "lt": (
        "cp1257",
        "Senasis tiltas eina per upę netoli malūno, o turgaus dienomis žmonės iš kaimų važiuoja juo su vežimais, pilnais obuolių ir sūrio.",
    ),
    "ru": ("cp1251", "Старый мост проходит через реку возле мельницы, и в базарные дни люди из деревень идут по нему."),
    "ru, KOI": ("koi8-r", "Старый мост проходит через реку возле мельницы, и в базарные дни люди из деревень идут по нему."),
    "el": ("iso8859-7", "Η παλιά γέφυρα περνά τον ποταμό κοντά στον μύλο, και τις μέρες της αγοράς έρχονται με κάρα."),
    "he": ("cp1255", "הגשר הישן חוצה את הנהר ליד הטחנה, ובימי השוק אנשים מן הכפרים עוברים עליו עם עגלות."),
    "ar": ("cp1256", "يعبر الجسر القديم النهر قرب الطاحونة، وفي أيام السوق يأتي الناس من القرى فوقه."),
    "th": ("cp874", "สะพานเก่าข้ามแม่น้ำใกล้กับโรงสี และในวันตลาดผู้คนจากหมู่บ้านจะข้ามมา"),
    "ja": ("cp932", "古い橋は水車小屋の近くで川を渡り、市の日には村の人々がりんごを積んだ荷車で渡ってくる。"),
    "ja, EUC": ("euc_jp", "古い橋は水車小屋の近くで川を渡り、市の日には村の人々がりんごを積んだ荷車で渡ってくる。"),
    "ja, JIS": ("iso2022_jp", "古い橋は水車小屋の近くで川を渡り、市の日には村の人々がりんごを積んだ荷車で渡ってくる。"),
    "zh": ("gb18030", "旧桥在磨坊附近跨过河流,在集市的日子里,村里的人们赶着装满苹果的大车从桥上过来。"),
    "zh, TW": ("big5", "舊橋在磨坊附近跨過河流,在集市的日子裡,村裡的人們趕著裝滿蘋果的大車從橋上過來。"),
    "ko": ("cp949", "오래된 다리는 방앗간 근처에서 강을 건너고, 장날이면 마을 사람들이 수레를 끌고 건너온다."),
}
PROSE = "The old bridge crosses the river near the mill, and on market days people come over it with carts of apples. "


def cases():
    for name in ("tests1.dat", "tests2.dat"):
        for case in re.split(rb"(?:^|\n)#data\n", (PUBLISHED / name).read_bytes())[1:]:
            data, label = case.split(b"\n#encoding\n")
            if b"multi-script" not in data:  # written by scripts, which are not run here
                yield pytest.param(data, charset.codec(label.decode().strip()), id=f"{name} {data[:40]}")


@pytest.mark.parametrize(("data", "expected"), list(cases()))
def test_the_published_cases_of_browsers(data, expected):
    """A byte that no UTF-8 has, at the end: what is plain ASCII is UTF-8 here."""
    assert extract(data + b"\xe9", None, "https://site.org/", [], True)["charset"] == expected


def test_there_are_as_many_cases_as_promised():
    assert len(list(cases())) >= 80


@pytest.mark.parametrize("name, text", SENTENCES.values(), ids=SENTENCES)
def test_what_is_not_declared_is_guessed(name, text):
    body = f"<html><head><title>x</title></head><body><p>{text}</p></body></html>".encode(name)
    assert text in charset.decode(body)[0]


@pytest.mark.parametrize(
    "odd",
    [
        " \xa35 ",
        " \xa0",
        " Foo\u2122 ",
        " Pe\xf1a ",
        " na\xefve r\xe9sum\xe9 ",
        " \u201cyes\u201d \u2013 ",
        " 20 \xb0C ",
        " \xa9 2020 ",
        " \u20ac9 ",
        " \u0152uvre ",
    ],
)
@pytest.mark.parametrize("times", [1, 8])
def test_a_few_odd_characters_in_english_prose_are_windows_1252(odd, times):
    text = (PROSE + odd) * times
    assert charset.decode(text.encode("cp1252")) == (text, "cp1252")


def test_any_single_odd_byte_in_english_prose_is_windows_1252():
    for byte in range(0x80, 0x100):
        for pattern in (" %b ", " %b5 ", " Pe%ba ", " Foo%b ", " %bber "):
            assert charset.decode(PROSE.encode() + pattern.encode() % bytes([byte]))[1] == "cp1252"


def test_the_top_level_domain_helps():
    body = "Cena dętki: 5 złotych".encode("iso8859-2")
    names = [charset.decode(body, None, u)[1] for u in ("https://a.pl/", "https://a.com:80/x.pl", "file:///a.pl")]
    assert names[0] == "iso8859-2" and names[1:] == ["cp1252"] * 2


QUOTES = "\u201cIt\u2019s ours,\u201d she said. "


@pytest.mark.parametrize(
    "body, declared, name, broken",
    [
        (QUOTES.encode() + b"\xa9", "utf-8", "utf-8", 1),
        (b"all ASCII but for \xa0 this", "utf-8", "utf-8", 1),
        (b"<meta charset=utf-8>" + QUOTES.encode() + b"\xff\xfe\x80", None, "utf-8", 3),
        ((QUOTES * 9).encode() + b"\x80" * 12, "utf-8", "utf-8", 12),
        ((QUOTES * 9).encode("cp1252"), "utf-8", "cp1252", 0),
        (QUOTES.encode("cp1252"), "utf-8", "utf-8", 3),
        (QUOTES.encode("cp1252"), "windows-1252", "cp1252", 0),
        (b"caf\xe9", '"iso-8859-1"', "cp1252", 0),
        (b"caf\xe9", "x-user-defined", "cp1252", 0),
        (b"<meta charset=utf-16be>caf\xc3\xa9", None, "utf-8", 0),
        (b"<meta charset=utf-16be>caf\xe9.", None, "utf-8", 1),
        (b"caf\xe9", "utf-16", "cp1252", 0),
        (b"\xef\xbb\xbfcaf\xe9.", "windows-1252", "utf-8", 1),
        (b"<meta charset=koi8-r>caf\xe9", "windows-1251", "cp1251", 0),
        (b"caf\xe9", "utf-7", "cp1252", 0),
        (b"caf\xe9", "cp850", "cp1252", 0),
    ],
)
def test_declarations_and_what_they_are_worth(body, declared, name, broken):
    text, found = charset.decode(body, declared)
    assert (found, text.count("\ufffd")) == (name, broken)


@pytest.mark.parametrize("label", ["iso-2022-kr", "hz-gb-2312", "iso-2022-cn", "replacement"])
def test_labels_that_browsers_refuse_cost_the_page(label):
    """They were used to smuggle scripts past filters; Python has no codec for `replacement`."""
    for body, declared in ((b"~{<p>\xff", label), (f"<meta charset={label}><p>x".encode() + b"\xff", None)):
        assert charset.decode(body, declared) == ("\ufffd", "replacement")
        assert extract(body, declared, "https://site.org/", [], True)["outcome"] == "bad_encoding"


@pytest.mark.parametrize(
    "head, expected",
    [
        ("<!-- <meta charset=koi8-r> --><meta charset=windows-1251>", "cp1251"),
        ("<meta name=description content='text; charset=koi8-r'><meta charset=windows-1251>", "cp1251"),
        ("<meta name=keywords content='charset=koi8-r'>", None),
        ("<p title='<meta charset=koi8-r>'><meta charset=windows-1251>", "cp1251"),
        ("<META HTTP-EQUIV=content-type CONTENT='text/html;CHARSET = \"windows-1251\"'>", "cp1251"),
        ("<meta content='text/html; charset=windows-1251' http-equiv=content-type charset=no-such>", None),
        ("<meta property=charset content=koi8-r>", None),
        ("<?xml version='1.0' encoding='windows-1251'?>", "cp1251"),
        ("<?xml version='1.0' encoding='koi8-r'?><meta charset=windows-1251>", "cp1251"),
        (" <?xml version='1.0' encoding='koi8-r'?>", None),
        ("<meta charset='windows-1251", None),
    ],
)
def test_the_prescan_takes_a_declaration_for_one_only_where_it_is_one(head, expected):
    assert charset.prescan(head.encode()) == expected


def test_a_declaration_behind_the_prescan_is_found_by_the_parser():
    text = "Это очень старый мост, и он стоит над рекой уже триста лет."
    late = "<head><style>" + "a{}" * 2000 + "</style><script>'<meta charset=koi8-r>'</script><meta charset=windows-1251></head>"
    found = extract((late + "<p>" + text).encode("cp1251"), None, "https://site.org/", [], True)
    assert found["charset"] == "cp1251" and found["texts"][-1][1] == text
    utf8 = extract((late + "<p>" + text).encode(), None, "https://site.org/", [], True)
    assert utf8["charset"] == "utf-8" and utf8["texts"][-1][1] == text


def test_the_prescan_of_anything_takes_linear_time():
    for junk in (b"<meta " * 170, b"<" * 1024, b"<!--" * 256, b"<a '" * 256, b"<meta charset='" * 60, b"<meta" + b" =" * 500):
        assert charset.prescan(junk[:1024]) is None
