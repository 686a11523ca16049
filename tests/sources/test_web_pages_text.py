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
    "html, expected",
    [
        ("<p>in <st1:place>Paris</st1:place> for ten years</p>", ["in Paris for ten years"]),
        (
            "<p>Hover <my-tooltip>this</my-tooltip> now, on <relative-time>3 May</relative-time>.</p>",
            ["Hover this now, on 3 May."],
        ),
        ("<p>Use a List<String> to hold</p><p>names</p>", ["Use a List to hold", "names"]),
        ("<p>a <map><area>b</map> <output>c</output> <blink>d</blink> <data>e</data> <slot>f</slot> g</p>", ["a b c d e f g"]),
        ("<p>Press <button>Save</button> and <select><option>one</select> go</p>", ["Press Save and go"]),
        ("<p>a <picture><source srcset=x.png><img src=key.png width=16 height=16></picture> b</p>", ["a b"]),
        ("<p>see <span style='background:url(/i.png)'>this</span> here</p>", ["see this here"]),
        ("<p>a <object data=x.pdf>the file</object> c</p>", ["a the file c"]),
        ("<p>a <embed src=x.swf> c</p>", ["a c"]),
        ("<object><div>a</div><div>b</div></object>", ["a", "b"]),
        ("<p>a <object data=i.png></object> c</p>", ["a", "c"]),
        ("<p>a <custom-box><p>b</p></custom-box> c</p>", ["a", "b", "c"]),
        ("<custom-page><h2>Head</h2>loose<div>in</div></custom-page>", ["Head", "loose", "in"]),
        ("<search>a</search><hgroup>b</hgroup><summary>c</summary><legend>d</legend>", ["a", "b", "c", "d"]),
        ("<p>See <video src=v.mp4>no <b>video</b></video> it</p>", ["See", "it"]),
        ("<p>Seen <span hidden>un</span>again <i style='display:none'>un</i>here</p>", ["Seen again here"]),
        ("<p><b style='visibility: hidden'>un</b>Seen</p>", ["Seen"]),
        ("<p>Text <noscript>enable <b>scripts</b></noscript>goes on</p>", ["Text goes on"]),
        ("<p>The list has <a class=subscribe href=x>a page</a> of its own</p>", ["The list has a page of its own"]),
        (
            "<p>see the <span class=menu>Tools</span> menu</p><p><a class=share>Tweet</a> <a class=social>Post</a></p>",
            ["see the Tools menu"],
        ),
    ],
)
def test_a_sentence_is_not_cut_by_what_is_in_its_line(html, expected):
    assert texts(html + "<p>" + "And more of the content of this page. " * 5)[: len(expected)] == expected
    assert len(texts(html + "<p>" + "And more of the content of this page. " * 5)) == len(expected) + 1


def test_an_image_that_is_not_shown_does_not_cut_a_sentence_either():
    found = page("<p>one <span hidden>x<img src=a.png></span> two <a style='display:none'><img src=b.png></a> three</p>")
    assert [t[1] for t in found["texts"]] == ["one two three"]
    assert [i[-1] for i in found["images"]] == ["boilerplate:hidden"] * 2


MATH = "<math><semantics><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow><annotation encoding='{}'>x^2</annotation></semantics></math>"
TEX = MATH.format("application/x-tex")
FORMULAS = {
    "MathML": ("<math><mi>x</mi><mo>=</mo><msqrt><mi>b</mi></msqrt></math>", "x=b"),
    "MathML of LaTeXML": ("<math alttext='x^{2}'><mi>x</mi></math>", "x^{2}"),
    "MathML with other annotations": (MATH.format("application/x-maple"), "x2"),
    "KaTeX": (
        f"<span class=katex><span class=katex-mathml>{TEX}</span><span class=katex-html aria-hidden=true>x2</span></span>",
        "x^2",
    ),
    "KaTeX without MathML": ("<span class=katex><span class=katex-html>x2</span></span>", "x2"),
    "MathJax 3": (
        "<mjx-container class=MathJax><mjx-math aria-hidden=true><mjx-c>x</mjx-c></mjx-math><mjx-assistive-mml><math><mi>x</mi></math>"
        "</mjx-assistive-mml></mjx-container>",
        "x",
    ),
    "MathJax 2": (
        "<span class=MathJax_Preview>x</span><span class=MathJax><nobr aria-hidden=true>x2</nobr></span><script type='math/tex'>x^2</script>",
        "x^2",
    ),
    "a script to be typeset": ("<script type='math/tex; mode=display'>x^2</script>", "x^2"),
    "Wikipedia": (
        f"<span class=mwe-math-element><span style='display: none;'>{TEX}</span><img src=/svg/abc alt='{{\\displaystyle x}}' "
        "class=mwe-math-fallback-image-inline aria-hidden=true></span>",
        "{\\displaystyle x}",
    ),
    "an image by its address": ("<img src=https://latex.codecogs.com/gif.latex?x alt=x^2>", "x^2"),
}


@pytest.mark.parametrize("html, expected", FORMULAS.values(), ids=FORMULAS)
def test_a_formula_is_in_its_sentence_once(html, expected):
    for before in ("Let ", ""):
        found = page(f"<p>{before}{html} be a number.</p>")
        assert [t[1] for t in found["texts"]] == [f"{before}{expected} be a number."]
        assert [i[-1] for i in found["images"]] == ["image:symbol"] * ("<img" in html)


def test_text_about_formulas_is_text():
    assert texts("<h1 class='title mathjax'>On $x$</h1><blockquote class='abstract mathjax'>We show it.</blockquote>") == [
        "On $x$",
        "We show it.",
    ]


def test_declarative_shadow_trees_are_shown_with_their_slots():
    html = (
        "<my-card>light one<b slot=head>Title</b><i slot=none>nowhere</i><template shadowrootmode=open><style>x</style><h2>The <slot name=head>"
        "Default</slot></h2><my-box>inner<template shadowrootmode=closed><p>deep <slot></slot> end</p></template></my-box>"
        "<p>before <slot></slot></p><slot name=more>fallback</slot></template><img src=i.png></my-card><p>after</p>"
    )
    found = page(html)
    assert [t[1] for t in found["texts"]] == ["The Title", "deep inner end", "before light one", "fallback", "after"]
    assert len(found["images"]) == 1 and texts("<p>x<template>not shown</template></p>") == ["x"]
    nested = "<x-y><template shadowrootmode=open><slot></slot></template>" * 500 + "core"
    assert texts(nested) == ["core"]


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


WORDS = "<p>" + "Words of the content of this page. " * 9 + "</p>"


@pytest.mark.parametrize(
    "html",
    [
        "<section id=binary-search><h2>Binary search</h2><p>x</p></section>",  # Sphinx
        "<section id=cookies><h2>Cookies<a class=headerlink>¶</a></h2><p>x</p></section>",
        "<div class=section id=related-work><h2>2.1 Related work</h2><p>x</p></div>",
        "<section id=menu-1><h2>Menu</h2><p>x</p></section>",
        "<div class=sect1><h2 id=_search>Search</h2><div class=sectionbody><p>x</p></div></div>",  # Asciidoctor
        "<div id=search class='section level2'><h2>Search</h2><p>x</p></div>",  # pandoc
        "<div id=subscription-model><h2>Subscription model</h2><p>x</p></div>",
        "<h2 id=advertising>Advertising</h2><p>x</p>",  # MkDocs, Hugo
        "<h2><span class=mw-headline id=Advertising>Advertising</span></h2><p>x</p>",  # MediaWiki
        "<h2 class=anchor id=social>Social</h2><p>x</p>",  # Docusaurus
        "<dl><dt id=cookie>cookie<dd>x</dl>",
        "<p id=menu>x</p>",
        "<section id=sec-search class=level2><h2>Binary search</h2><p>x</p></section>",  # Quarto
        "<section id=sec:related><h2>Earlier work</h2><p>x</p></section>",
        "<div id=user-content-advertising><h2>Advertising</h2><p>x</p></div>",  # GitHub
        "<section id=publicité><h2>Publicité</h2><p>x</p></section>",
    ],
)
def test_an_id_made_from_a_heading_is_no_boilerplate(html):
    assert "x" in texts(WORDS + html)


@pytest.mark.parametrize(
    "html, reason",
    [
        ("<div id=comments><h3>Comments</h3><p>x</p></div>", "comments"),
        ("<div id=comments class=comments><h3>Comments</h3><p>x</p></div>", "comments"),
        ("<section id=related class=related><h3>Related</h3><p>x</p></section>", "related"),
        ("<section id=sidebar><h3>News</h3><p>x</p></section>", "aside"),
        ("<div id=related-posts><p>x</p></div>", "related"),
        ("<div id=sec-related><h3>More</h3><p>x</p></div>", "related"),
    ],
)
def test_a_box_is_known_by_its_id_all_the_same(html, reason):
    assert {r["text"]: r["drop_reason"] for r in rows(WORDS + html)}["x"] == f"boilerplate:{reason}"


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
    for said in ("name=ROBOTS content='index NOAI'", "name=GPTBot content='noindex;noai'", "name=googlebot content=noai"):
        assert page(f"<meta {said}><p>x")["outcome"] == "opt_out"
    assert page("<meta name=description content=noai><p>x")["outcome"] is None
    assert page("<p>x", robots=["noai"], honor=False)["outcome"] is None


def test_what_every_row_has_a_copy_of_is_short():
    long = "l" * 1_000_000
    found = page(
        f"<html lang={long}><title>{long}</title><{long}><a href=/{long}><p lang={long}>x<figure>{f'<figcaption>{long}</figcaption>' * 3}<img src=i.png alt={long}>"
    )
    assert found["lang"] is None and len(found["title"]) <= 4000
    text, image = dict(zip(TEXT, found["texts"][0])), found["images"][0]
    assert text["lang"] is None and len(text["dom_path"]) < 24 * 33
    assert all(len(v) < 5000 for v in image if isinstance(v, str))


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
