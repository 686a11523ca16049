"""Paragraphs in page order, boilerplate marked, and the charset of pages."""

import pytest

from curate.sources.html import charset
from curate.sources.html.extract import TEXT, extract


def page(html: str | bytes, declared: str | None = None, robots=(), honor=True) -> dict:
    return extract(html if isinstance(html, bytes) else html.encode(), declared, "https://site.org/", list(robots), honor)


def rows(html: str) -> list[dict]:
    return [dict(zip(TEXT, row)) for row in page(html)["texts"]]


def texts(html: str) -> list[str]:
    return [r["text"] for r in rows(html) if r["drop_reason"] is None]


def test_texts_and_images_share_one_page_order():
    found = page("<h1>Title</h1><p>one <img src=a.jpg> two</p><figure><img src=b.jpg><figcaption>cap</figcaption></figure>")
    places = sorted([(t[0], t[1]) for t in found["texts"]] + [(i[0], i[1]) for i in found["images"]])
    assert places == [
        (0, "Title"),
        (1, "one"),
        (2, "https://site.org/a.jpg"),
        (3, "two"),
        (4, "https://site.org/b.jpg"),
        (5, "cap"),
    ]


@pytest.mark.parametrize(
    "html, expected",
    [
        ("<p>one<p>two", ["one", "two"]),
        ("<p> a \n b\t<b>c</b>d <i> e</i></p>", ["a b cd e"]),
        ("<div>loose<p>inner</p>tail</div>", ["loose", "inner", "tail"]),
        ("<p>a<br>b<br><br>c</p>", ["a\nb", "c"]),
        ("<ul><li>one<ul><li>in</ul><li>two</ul>", ["one", "in", "two"]),
        ("<dl><dt>word<dd>meaning</dl>", ["word", "meaning"]),
        ("<table><tr><th>a<th>b<tr><td>1<td><p>2</p></table>", ["a | b", "1 | 2"]),
        ("<table><tr><td></td><td>x</td><td>y</td></tr></table>", ["x | y"]),
        (
            f"<table><tr><td><p>{'long ' * 100}</p><p>second</p></td><td>{'side ' * 50}</td></tr></table>",
            [("long " * 100).strip(), "second", ("side " * 50).strip()],
        ),
        ("<table><tr><td><h2>Head</h2><p>one</p></td></tr></table>", ["Head", "one"]),
        ("<pre>\n  def f():\n      return 1\n</pre>", ["  def f():\n      return 1"]),
        ("<h2>Head <a class=headerlink>¶</a></h2>", ["Head"]),
        ("a<script>x</script><style>y</style><template>z</template><textarea>t</textarea><!-- c -->b", ["ab"]),
        ("<p>x<sub>2</sub> &amp; &#233;&nbsp;y</p>", ["x2 & é y"]),
        ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>字", ["漢字"]),
        ("<p>Press <img src=key.png width=16 height=16 alt=Enter> now</p>", ["Press now"]),
        ("<p>Press <img src=images/add_line_24.png> or <img src=/icons/save.png> now</p>", ["Press or now"]),
        ("<p>Look <img src=images/figure-24-7.png> here</p>", ["Look", "here"]),
        ("<p>where <img src=/math/x.png class=latex alt='x^2'> holds</p>", ["where x^2 holds"]),
        ("<p>\u200b</p><p>   </p>", ["\u200b"]),
        ("", []),
    ],
)
def test_paragraphs(html, expected):
    assert texts(html) == expected


def test_kinds_levels_languages_and_links():
    found = rows(
        "<html lang=en><h3>H</h3><p>t <a href=x>link</a></p><ul><li>l</ul><pre>c</pre><table><tr><td>1<td>2</table>"
        "<figure><figcaption>f</figcaption></figure><p lang=fr>oui</p>"
    )
    assert [r["kind"] for r in found] == ["heading", "paragraph", "list", "code", "table", "caption", "paragraph"]
    assert [r["level"] for r in found] == [3, None, None, None, None, None, None]
    assert [r["lang"] for r in found] == ["en"] * 6 + ["fr"]
    assert found[1]["link_share"] == pytest.approx(4 / 5) and found[0]["link_share"] == 0
    assert found[1]["dom_path"] == "html>body>p"


@pytest.mark.parametrize(
    "html, reason",
    [
        ("<nav>x</nav>", "nav"),
        ("<div role=navigation>x</div>", "nav"),
        ("<ul class='main-menu'><li>x</ul>", "nav"),
        ("<div class=mainNav>x</div>", "nav"),
        ("<div id=breadcrumbs>x</div>", "nav"),
        ("<footer>x</footer>", "footer"),
        ("<div class='site-footer wide'>x</div>", "footer"),
        ("<header>x</header>", "header"),
        ("<aside>x</aside>", "aside"),
        ("<div id=sidebar>x</div>", "aside"),
        ("<div class=ad-slot>x</div>", "ad"),
        ("<div class=sponsored>x</div>", "ad"),
        ("<div id=cookie-banner>x</div>", "cookie"),
        ("<div class=gdpr>x</div>", "cookie"),
        ("<div class=social-links>x</div>", "share"),
        ("<section class=related-posts>x</section>", "related"),
        ("<div id=comments>x</div>", "comments"),
        ("<div class=newsletter>x</div>", "newsletter"),
        ("<div class=modal>x</div>", "popup"),
        ("<dialog open>x</dialog>", "popup"),
        ("<div hidden>x</div>", "hidden"),
        ("<p style='display: none'>x</p>", "hidden"),
        ("<button>x</button>", "form"),
        ("<noscript>x</noscript>", "noscript"),
    ],
)
def test_boilerplate_is_marked_with_its_own_reason(html, reason):
    content = "<p>" + "This is the content of the page. " * 5 + "</p>"
    found = {r["text"]: r["drop_reason"] for r in rows(content + html)}
    assert found.pop("x") == f"boilerplate:{reason}" and list(found.values()) == [None]


@pytest.mark.parametrize(
    "html",
    [
        "<body class='has-sidebar'><p>x</p>",
        "<div class=no-nav><p>x</p></div>",
        "<article><header><p>x</p></header></article>",
        "<main><aside><p>x</p></aside></main>",
        "<div class=nav-wrapper><main><p>x</p></main></div>",
        "<header><h1>x</h1></header>",
        "<div role=main><aside><p>x</p></aside></div>",
        "<p class=navy>x</p>",
        "<p class=shadow>x</p>",
        "<code class=menu>x</code>",
        "<div class=sidebar>x</div>",
        "<div class='page-header'>x</div>",
        "<span class=guimenu>x</span>",
    ],
)
def test_what_only_looks_like_boilerplate_stays(html):
    assert texts(html) == ["x"]


def test_the_sidebars_of_docbook_are_boxes_in_the_text():
    page = "<div class=sidebar>box</div><p>" + "words " * 9 + "</p>"
    assert "box" not in texts(page) and "box" in texts("<meta name=generator content='DocBook XSL'>" + page)


def test_a_guess_that_covers_most_of_the_page_is_taken_back_and_a_certain_mark_is_not():
    body = "<p>" + "words " * 50 + "</p>"
    assert len(texts(f"<div class=menu>{body}</div><p>x</p>")) == 2
    assert texts(f"<nav>{body}</nav><p>x</p>") == ["x"]


def test_title_language_and_opt_outs():
    found = page(
        "<html lang=de><title> A\n title </title><h1>H</h1><meta name=robots content='NoImageAI, noindex'><p>x<img src=i.png>"
    )
    assert (found["title"], found["lang"]) == ("A title", "de")
    assert found["images"][0][-1] == "image:opt_out" and found["texts"][0][-1] is None
    assert page("<h1>H</h1>")["title"] == "H"
    assert page("<meta name=robots content=noai><p>x")["outcome"] == "opt_out"
    assert page("<meta name=tdm-reservation content=1><p>x")["outcome"] == "opt_out"
    for head in (
        "<META NAME=Robots CONTENT='index NOAI'>",
        "<meta name=' robots ' content='noindex;noai'>",
        "<meta name=GPTBot content='nofollow,noai'>",
        "<meta http-equiv=X-Robots-Tag content='googlebot: no-ai'>",
        "<meta property=tdm_reservation content='1 '>",
        "<meta name=robots content='unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noai'>",
    ):
        assert page(head + "<p>x")["outcome"] == "opt_out"
    for head in (
        "<meta name=description content='noai, tdm-reservation: 1'>",
        "<meta name=tdm-reservation content=0>",
        "<meta name=robots content='none, max-image-preview:noimageai'>",
    ):
        found = page(head + "<p>x<img src=i.png>")
        assert found["outcome"] is None and found["images"][0][-1] is None
    assert page("<p>x", robots=["noai"])["outcome"] == "opt_out"
    assert page("<p>x", robots=["noai"], honor=False)["outcome"] is None


RUSSIAN, JAPANESE, CHINESE = (
    "Привет, мир. Это длинная страница о кошках.",
    "日本語のページです。猫が好きです。",
    "这是一个关于猫的中文网页。",
)


@pytest.mark.parametrize(
    "body, declared, expected, name",
    [
        (RUSSIAN.encode(), None, RUSSIAN, "utf-8"),
        (RUSSIAN.encode(), "iso-8859-1", RUSSIAN, "utf-8"),
        (RUSSIAN.encode("cp1251"), "windows-1251", RUSSIAN, "cp1251"),
        (b"<meta charset=windows-1251>" + RUSSIAN.encode("cp1251"), None, RUSSIAN, "cp1251"),
        (b"<meta charset='windows-1251'>" + RUSSIAN.encode("cp1251"), "utf-8", RUSSIAN, "cp1251"),
        (b'<?xml version="1.0" encoding="koi8-r"?>' + RUSSIAN.encode("koi8-r"), None, RUSSIAN, "koi8-r"),
        (RUSSIAN.encode("cp1251") * 5, None, RUSSIAN, "cp1251"),
        (JAPANESE.encode("shift_jis"), "x-sjis", JAPANESE, "cp932"),
        (
            b'<meta http-equiv="Content-Type" content="text/html; charset=EUC-JP">' + JAPANESE.encode("euc_jp"),
            None,
            JAPANESE,
            "euc_jp",
        ),
        (JAPANESE.encode("iso2022_jp"), "iso-2022-jp", JAPANESE, "iso2022_jp"),
        (CHINESE.encode("gb18030"), "gb2312", CHINESE, "gb18030"),
        (CHINESE.encode("big5", "replace"), "big5", CHINESE.encode("big5", "replace").decode("big5"), "big5hkscs"),
        ("\ufeff".encode() + CHINESE.encode(), "gb2312", CHINESE, "utf-8"),
        (b"\xff\xfe" + RUSSIAN.encode("utf-16-le"), None, RUSSIAN, "utf-16-le"),
        (b"\xfe\xff" + RUSSIAN.encode("utf-16-be"), "utf-8", RUSSIAN, "utf-16-be"),
        (RUSSIAN.encode("utf-16-le"), "utf-16le", RUSSIAN, "utf-16-le"),
        (b"<meta charset=utf-16>" + RUSSIAN.encode(), None, RUSSIAN, "utf-8"),
        (b"caf\xe9", "no-such-charset", "caf", None),
        (b"\x93caf\xe9\x94", "iso-8859-1", "\u201ccaf\xe9\u201d", "cp1252"),
        (CHINESE.encode()[:-1], None, CHINESE[:-1], "utf-8"),
        (RUSSIAN.encode() * 40 + b"\xff", "utf-8", RUSSIAN, "utf-8"),
        (b"plain", None, "plain", "utf-8"),
    ],
)
def test_charsets(body, declared, expected, name):
    text, found = charset.decode(body, declared)
    assert expected in text and (name is None or found == name)
