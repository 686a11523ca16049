"""HTML image cases: what stands on the page, and the absolute URLs that must come out, in order.

The first 18 are the cases that published pipelines were measured on (four of them right in OBELICS' extractor).
"""

import pytest

from curate.sources.html import image_urls
from curate.sources.html.extract import IMAGE, extract

AT = "https://site.org/a/b/page.html"

PUBLISHED = {
    "plain": ('<p>x</p><img src="https://c.org/i.jpg">', ["https://c.org/i.jpg"]),
    "data uri with data-src": (
        '<img src="data:image/gif;base64,R0lGOD" data-src="https://c.org/i.jpg">',
        ["https://c.org/i.jpg"],
    ),
    "long top-level domain": ('<img src="https://c.photography/i.jpg">', ["https://c.photography/i.jpg"]),
    "inside inline text": ('<p>before <b>bold <img src="/i.jpg"></b> after</p>', ["https://site.org/i.jpg"]),
    "figure": ('<figure><img src="/i.jpg"><figcaption>A cat.</figcaption></figure>', ["https://site.org/i.jpg"]),
    "linked in figure": ('<figure><a href="/big"><img src="/i.jpg"></a></figure>', ["https://site.org/i.jpg"]),
    "picture": (
        '<picture><source srcset="/l.webp 1600w, /m.webp 800w" type="image/webp"><img src="/s.jpg"></picture>',
        ["https://site.org/l.webp"],
    ),
    "srcset only": ('<img srcset="/s.jpg 320w, /l.jpg 1280w">', ["https://site.org/l.jpg"]),
    "file placeholder, data-src, srcset": (
        '<img src="/blank.gif" data-src="/i.jpg" srcset="/blank.gif 1w" data-srcset="/i.jpg 600w, /l.jpg 1200w">',
        ["https://site.org/l.jpg"],
    ),
    "lazy srcset with noscript": (
        '<img class="lazy" src="data:image/gif;base64,R0" data-srcset="/l.jpg 1200w, /m.jpg 600w">'
        '<noscript><img src="/l.jpg" alt="A cat"></noscript>',
        ["https://site.org/l.jpg"],
    ),
    "relative to the page": ('<img src="img/i.jpg">', ["https://site.org/a/b/img/i.jpg"]),
    "parent folder": ('<img src="../i.jpg">', ["https://site.org/a/i.jpg"]),
    "base": ('<head><base href="https://cdn.org/x/"></head><img src="i.jpg">', ["https://cdn.org/x/i.jpg"]),
    "comma in the URL": (
        '<img srcset="https://c.org/w_640,h_480/i.jpg 640w, https://c.org/w_1280,h_960/i.jpg 1280w">',
        ["https://c.org/w_1280,h_960/i.jpg"],
    ),
    "protocol-relative": ('<img src="//c.org/i.jpg">', ["https://c.org/i.jpg"]),
    "table": ('<table><tr><td><img src="/i.jpg"></td><td>words</td></tr></table>', ["https://site.org/i.jpg"]),
    "list": ('<ul><li>one <img src="/i.jpg"></li></ul>', ["https://site.org/i.jpg"]),
    "pre": ('<pre>text <img src="/i.jpg"> more</pre>', ["https://site.org/i.jpg"]),
}

OURS = {
    "base is relative": ('<base href="/assets/"><img src="i.jpg">', ["https://site.org/assets/i.jpg"]),
    "first base wins": ('<base href="/x/"><base href="/y/"><img src="i.jpg">', ["https://site.org/x/i.jpg"]),
    "base after the image": ('<img src="i.jpg"><base href="/x/">', ["https://site.org/x/i.jpg"]),
    "base is no web address": ('<base href="javascript:1"><img src="i.jpg">', ["https://site.org/a/b/i.jpg"]),
    "query and fragment": ('<img src="i.jpg?w=1&amp;h=2#top">', ["https://site.org/a/b/i.jpg?w=1&h=2"]),
    "space in the name": ('<img src="my cat.jpg">', ["https://site.org/a/b/my%20cat.jpg"]),
    "not ASCII": ('<img src="/gatito/ñ.jpg">', ["https://site.org/gatito/%C3%B1.jpg"]),
    "international domain": ('<img src="https://bücher.de/i.jpg">', ["https://xn--bcher-kva.de/i.jpg"]),
    "backslashes": (r'<img src="\img\i.jpg">', ["https://site.org/img/i.jpg"]),
    "line break inside": ('<img src="/im\ng/i.jpg">', ["https://site.org/img/i.jpg"]),
    "white space around": ('<img src="  /i.jpg \n">', ["https://site.org/i.jpg"]),
    "no quotes": ("<img src=/i.jpg alt=cat>", ["https://site.org/i.jpg"]),
    "upper case": ('<IMG SRC="/I.JPG">', ["https://site.org/I.JPG"]),
    "default port": ('<img src="https://c.org:443/i.jpg">', ["https://c.org/i.jpg"]),
    "user's credentials in no way": ('<img src="ftp://c.org/i.jpg">', []),
    "no extension": ('<img src="/image?id=7">', ["https://site.org/image?id=7"]),
    "densities": ('<img src="/1.jpg" srcset="/1.jpg 1x, /2.jpg 2x, /9.jpg 9x">', ["https://site.org/2.jpg"]),
    "widest that fits": ('<img srcset="/4k.jpg 4096w, /2k.jpg 2048w, /s.jpg 200w">', ["https://site.org/2k.jpg"]),
    "all too wide": ('<img srcset="/8k.jpg 8192w, /4k.jpg 4096w">', ["https://site.org/4k.jpg"]),
    "srcset without descriptors": ('<img srcset="/i.jpg">', ["https://site.org/i.jpg"]),
    "srcset without spaces after commas": ('<img srcset="/s.jpg 1x,/l.jpg 2x">', ["https://site.org/l.jpg"]),
    "srcset over lines": ('<img srcset="\n /s.jpg 320w,\n /l.jpg 640w\n">', ["https://site.org/l.jpg"]),
    "srcset with height": ('<img srcset="/s.jpg 320w 200h, /l.jpg 640w 400h">', ["https://site.org/l.jpg"]),
    "srcset holds a data URI": ('<img srcset="data:image/png;base64,iVBO,R 1x, /l.jpg 2x">', ["https://site.org/l.jpg"]),
    "broken descriptors": ('<img srcset="/s.jpg abcw, /l.jpg 640w">', ["https://site.org/l.jpg"]),
    "sizes do not matter": ('<img sizes="100vw" srcset="/s.jpg 320w, /l.jpg 640w" src="/f.jpg">', ["https://site.org/l.jpg"]),
    "picture with media": (
        '<picture><source media="(max-width:600px)" srcset="/s.jpg 480w"><source srcset="/l.jpg 1200w"><img></picture>',
        ["https://site.org/l.jpg"],
    ),
    "picture, lazy sources": (
        '<picture><source data-srcset="/l.webp 900w"><img src="data:image/gif;base64,R0" data-src="/i.jpg"></picture>',
        ["https://site.org/l.webp"],
    ),
    "avif stands back": (
        '<picture><source srcset="/i.avif" type="image/avif"><img src="/i.jpg"></picture>',
        ["https://site.org/i.jpg"],
    ),
    "picture without sources": ('<picture><img src="/i.jpg"></picture>', ["https://site.org/i.jpg"]),
    "two pictures keep their sources": (
        '<picture><source srcset="/1.webp"><img src="/1.jpg"></picture><picture><img src="/2.jpg"></picture>',
        ["https://site.org/1.webp", "https://site.org/2.jpg"],
    ),
    "data-original": ('<img src="/img/grey.gif" data-original="/i.jpg">', ["https://site.org/i.jpg"]),
    "data-lazy-src": ('<img src="/spacer.gif" data-lazy-src="/i.jpg">', ["https://site.org/i.jpg"]),
    "data-actualsrc": (
        '<img data-actualsrc="https://pic.zhimg.com/i.jpg" src="data:image/svg+xml;utf8,x">',
        ["https://pic.zhimg.com/i.jpg"],
    ),
    "forum attachment": (
        '<img src="static/image/common/none.gif" file="data/attachment/i.jpg" zoomfile="data/attachment/i.jpg">',
        ["https://site.org/a/b/data/attachment/i.jpg"],
    ),
    "unknown data attribute with an image": ('<img src="/1x1.png" data-my-own-thing="/i.jpeg">', ["https://site.org/i.jpeg"]),
    "data attribute that is no URL": ('<img src="/i.jpg" data-src="{&quot;id&quot;: 3}">', ["https://site.org/i.jpg"]),
    "lazy before a blurred copy": ('<img src="/tiny-20.jpg" data-src="/i.jpg">', ["https://site.org/i.jpg"]),
    "noscript only": ('<noscript><img src="/i.jpg"></noscript>', ["https://site.org/i.jpg"]),
    "noscript before the lazy image": (
        '<p>x</p><noscript><img src="/i.jpg"></noscript><img src="data:image/gif;base64,R0" data-src="/i.jpg">',
        ["https://site.org/i.jpg"],
    ),
    "noscript for an image without any URL": (
        '<img class="lazy"><noscript><img src="/i.jpg"></noscript>',
        ["https://site.org/i.jpg"],
    ),
    "noscript knows larger ones": (
        '<img src="/s.jpg"><noscript><img src="/s.jpg" srcset="/m.jpg 500w, /l.jpg 1400w"></noscript>',
        ["https://site.org/l.jpg"],
    ),
    "noscript for another image": (
        '<img src="/1.jpg"><noscript><img src="/2.jpg"></noscript>',
        ["https://site.org/1.jpg", "https://site.org/2.jpg"],
    ),
    "placeholder alone in words": ('<img src="/loading-dock.jpg">', ["https://site.org/loading-dock.jpg"]),
    "style background": ("<div style=\"background-image: url('/i.jpg')\"></div>", ["https://site.org/i.jpg"]),
    "style background, escaped quotes": (
        '<div style="background: #fff url(&quot;/i.jpg&quot;) no-repeat"></div>',
        ["https://site.org/i.jpg"],
    ),
    "lazy background": ('<div data-bg="/i.jpg"></div>', ["https://site.org/i.jpg"]),
    "gradient is no image": ('<div style="background: linear-gradient(red, blue)"></div>', []),
    "video poster": ('<video poster="/i.jpg"><source src="/v.mp4"></video>', ["https://site.org/i.jpg"]),
    "object": ('<object data="/i.png" type="image/png"></object>', ["https://site.org/i.png"]),
    "amp": ('<amp-img src="/i.jpg" width="300" height="200"></amp-img>', ["https://site.org/i.jpg"]),
    "open graph as fallback": (
        '<head><meta property="og:image" content="/og.jpg"></head><p>words</p>',
        ["https://site.org/og.jpg"],
    ),
    "open graph stands back": (
        '<head><meta property="og:image" content="/og.jpg"></head><img src="/i.jpg">',
        ["https://site.org/i.jpg"],
    ),
    "open graph beside a logo": (
        '<head><meta property="og:image" content="/og.jpg"></head><nav><img src="/logo.png"></nav>',
        ["https://site.org/og.jpg"],
    ),
    "in a definition list": ("<dl><dt>a<dd><img src=/i.jpg></dl>", ["https://site.org/i.jpg"]),
    "in a form": ('<form><div><img src="/i.jpg"></div></form>', ["https://site.org/i.jpg"]),
    "in details": ('<details><summary>x</summary><img src="/i.jpg"></details>', ["https://site.org/i.jpg"]),
    "unclosed tags": (
        '<div><p><img src="/1.jpg"><p><b><img src="/2.jpg"><table><td><img src="/3.jpg">',
        ["https://site.org/1.jpg", "https://site.org/2.jpg", "https://site.org/3.jpg"],
    ),
    "attribute cut by the end": ('<p>x</p><img src="/i.jpg', []),
    "image tag": ('<image src="/i.jpg">', ["https://site.org/i.jpg"]),
    "in a comment": ('<!-- <img src="/i.jpg"> -->', []),
    "in a script": ('<script>document.write("<img src=/i.jpg>")</script>', []),
    "in a template": ('<template><img src="/i.jpg"></template>', []),
    "same image twice on a page": (
        '<img src="/i.jpg"><p>x</p><img src="/i.jpg">',
        ["https://site.org/i.jpg", "https://site.org/i.jpg"],
    ),
    "order over columns": (
        '<table><tr><td><img src="/1.jpg"><td><img src="/2.jpg"><tr><td><img src="/3.jpg"></table>',
        ["https://site.org/1.jpg", "https://site.org/2.jpg", "https://site.org/3.jpg"],
    ),
}


def images(html: str) -> list[dict]:
    found = extract(html.encode(), "utf-8", AT, [], True)
    return [dict(zip(IMAGE, row)) for row in found["images"]]


@pytest.mark.parametrize("html, expected", [*PUBLISHED.values(), *OURS.values()], ids=[*PUBLISHED, *OURS])
def test_the_urls_of_the_live_images(html, expected):
    assert [i["url"] for i in images(html) if i["drop_reason"] is None] == expected


def test_there_are_as_many_cases_as_promised():
    assert len(PUBLISHED) == 18 and len(OURS) >= 40


def test_what_is_not_an_image_file_is_a_row_with_a_reason():
    html = '<img src="data:image/png;base64,iVBO"><img src="/blank.gif"><img alt="x">'
    html += '<img src="/t.gif" width=1 height=1><nav><img src=/n.png></nav>'
    assert [i["drop_reason"] for i in images(html)] == [
        "image:inline",
        "image:inline",
        "image:no_url",
        "image:tracker",
        "boilerplate:nav",
    ]


@pytest.mark.parametrize(
    "name",
    ["image.png", "image-3-1024x576.png", "2023-11-05.png", "12-34.webp", "1-150x150.png", "default.webp", "no.gif", "dot.png"],
)
def test_a_picture_is_no_placeholder_because_of_its_name(name):
    assert [i["drop_reason"] for i in images(f"<img src=/{name}>")] == [None]


@pytest.mark.parametrize("attributes", ["alt='A blank form'", "width=300", "title=x"])
def test_what_is_named_like_a_placeholder_is_a_picture_if_something_is_said_of_it(attributes):
    assert [i["drop_reason"] for i in images(f"<img src=/blank.png {attributes}>")] == [None]
    assert images("<a href=/full.jpg><img src=/loading.gif></a>")[0]["drop_reason"] is None


def test_a_placeholder_is_no_candidate_beside_the_picture():
    assert images("<img src=/blank.gif data-src=/i.jpg alt=A>")[0]["candidates"] == ["https://site.org/i.jpg"]
    assert images("<img src=/blank.gif alt=A><noscript><img src=/i.jpg></noscript>")[0]["candidates"] == [
        "https://site.org/i.jpg"
    ]


TEMPLATES = {
    "lazysizes": ("<img src=/c_300x.jpg data-src=/c_{width}x.jpg>", ["/c_300x.jpg"]),
    "lazysizes with widths": (
        "<img src=/c_300x.jpg data-src=/c_{width}x.jpg data-widths='[180, 360, 4000]'>",
        ["/c_360x.jpg", "/c_300x.jpg"],
    ),
    "widths that are none": ("<img src=/c.jpg data-src=/c_{width}x.jpg data-widths='[[[\"a\"]]]'>", ["/c.jpg"]),
    "brackets": ("<img src=/s.jpg data-src=/[WIDTH]x[HEIGHT]/a.jpg>", ["/s.jpg"]),
    "in a srcset": ("<img src=/b.jpg data-srcset=/x_{width}x.jpg>", ["/b.jpg"]),
    "Angular": ("<img src='{{ item.src }}' alt=x>", []),
    "a template literal": ("<img src='${url}/a.jpg' alt=x>", []),
    "escaped": ("<img src=/a_%7Bwidth%7D.jpg data-src=/b.jpg>", ["/b.jpg"]),
    "what scripts write for nothing": ("<img src=undefined><img src=null><img src='[object Object]'>", []),
    "a GUID is none": (
        "<img src=/{3F2504E0-4F89-11D3-9A0C-0305E82C3301}/a.jpg>",
        ["/%7B3F2504E0-4F89-11D3-9A0C-0305E82C3301%7D/a.jpg"],
    ),
}


@pytest.mark.parametrize("html, expected", TEMPLATES.values(), ids=TEMPLATES)
def test_what_a_script_was_to_fill_in_is_no_address(html, expected):
    assert [c for i in images(html) for c in i["candidates"]] == [f"https://site.org{e}" for e in expected]


@pytest.mark.parametrize(
    "srcset, expected",
    [
        ("/my photo.jpg 300w, /my photo big.jpg 600w", []),
        *[
            (f"/bad.jpg {d}, /good.jpg 100w", ["/good.jpg"])
            for d in ("0w", "-5w", "1e3w", "2x 300w", "3.5w", "100w 100w", "200h", "9q", "+3w")
        ],
        *[(f"/bad.jpg {d}, /good.jpg 2x", ["/good.jpg"]) for d in ("infx", "nanx", "-1x", "x", "2x 3x", "1x 10h")],
        ("/a.jpg 1.5x, /b.jpg 1e0x, /c.jpg .5x", ["/a.jpg", "/b.jpg", "/c.jpg"]),
        ("/a.jpg 100w 50h,/b.jpg 200w", ["/b.jpg", "/a.jpg"]),
        (",,/a.jpg 1x , ,/b.jpg,", ["/a.jpg", "/b.jpg"]),
        ("/a,b.jpg 1x", ["/a,b.jpg"]),
        ("/a.jpg (x, y) 1x, /b.jpg 2x", ["/b.jpg"]),
    ],
)
def test_a_srcset_is_read_as_the_standard_has_it(srcset, expected):
    assert [u for u, _, _ in sorted(image_urls.srcset(srcset), key=lambda c: -(c[1] or 0))] == expected
    found = images(f'<img srcset="{srcset}" src=/src.jpg>')[0]
    assert set(found["candidates"]) == {f"https://site.org{e}" for e in [*expected, "/src.jpg"]}


@pytest.mark.parametrize(
    "sources, expected",
    [
        ("<source media='(max-width: 600px)' srcset=/m.jpg><source media='(min-width: 601px)' srcset=/d.jpg>", "/d.jpg"),
        ("<source media='(max-width: 600px)' srcset=/m.jpg>", "/i.jpg"),
        ("<source media=print srcset=/p.jpg>", "/i.jpg"),
        ("<source media='(prefers-color-scheme: dark)' srcset=/dark.jpg>", "/i.jpg"),
        ("<source media='(min-width: 1200px)' srcset=/l.jpg><source media='(min-width: 600px)' srcset=/s.jpg>", "/l.jpg"),
        ("<source type=image/jxl srcset=/j.jxl><source type=image/webp srcset=/w.webp>", "/w.webp"),
        ("<source type='image/webp; x=y' srcset=/w.webp>", "/w.webp"),
        ("<source type=video/mp4 srcset=/v.mp4>", "/i.jpg"),
        ("<source type=image/svg+xml srcset=/v.svg>", "/i.jpg"),
        ("<source type=image/avif media='(min-width: 1px)' srcset=/a.avif><source srcset=/w.webp>", "/w.webp"),
        ("<source srcset='bad 9q'><source srcset=/w.webp>", "/w.webp"),
    ],
)
def test_of_a_picture_what_a_desktop_browser_shows(sources, expected):
    assert images(f"<picture>{sources}<img src=/i.jpg></picture>")[0]["url"] == f"https://site.org{expected}"


def test_the_signs_beside_notes_are_boilerplate():
    rows = images("<div class=note><table><tr><td><img src=images/note.png><td><p>Words.</table></div><img src=notebook.png>")
    assert [i["drop_reason"] for i in rows] == ["boilerplate:sign", None]


def test_all_candidates_are_kept_best_first():
    html = '<a href="/full.jpg"><img src="/blank.gif" data-src="/i.jpg" srcset="/s.jpg 100w, /l.jpg 900w"></a>'
    (image,) = images(html)
    assert image["candidates"] == [f"https://site.org/{n}.jpg" for n in ("l", "s", "i", "full")]
    assert image["link"] == "https://site.org/full.jpg" and image["url"] == image["candidates"][0]


@pytest.mark.parametrize(
    "html, caption",
    [
        ("<figure><img src=i.png><figcaption>A <i>red</i> cat.</figcaption></figure>", "A red cat."),
        ("<figure><figcaption>Above.</figcaption><img src=i.png></figure>", "Above."),
        ("<figure><figure><img src=i.png></figure><figcaption>Outer.</figcaption></figure>", "Outer."),
        ("<div class='wp-caption'><a><img src=i.png></a><p class='wp-caption-text'>Word.</p></div>", "Word."),
        ("<div class='figure'><p class='title'>Figure 1</p><div class='mediaobject'><img src=i.png></div></div>", "Figure 1"),
        ("<div class='imageblock'><div class='content'><img src=i.png></div><div class='title'>Doc.</div></div>", "Doc."),
        (
            "<div class='thumb'><div class='thumbinner'><img src=i.png><div class='thumbcaption'>Wiki.</div></div></div>",
            "Wiki.",
        ),
        ("<figure></figure><img src=i.png><figure><figcaption>Other.</figcaption></figure>", None),
    ],
)
def test_captions_belong_to_the_images_of_their_figure(html, caption):
    (image,) = images(html)
    assert image["figcaption"] == caption


def test_text_is_the_caption_then_alt_then_title_and_never_a_file_name():
    html = (
        '<figure><img src=a.png alt="alt a"><figcaption>Caption a</figcaption></figure>'
        '<img src=b.png alt=" alt  b " title=t><img src=c.png alt="IMG_0042.JPG" title="a title">'
        '<img src=d.png alt="DSC 1234"><img src=e.png alt="">'
    )
    rows = images(html)
    assert [r["text"] for r in rows] == ["Caption a", "alt b", "a title", None, None]
    assert [r["alt"] for r in rows] == ["alt a", "alt b", "IMG_0042.JPG", "DSC 1234", None]


@pytest.mark.parametrize(
    "attributes, size",
    [
        ('width="300" height="200"', (300, 200)),
        ('width="300px" height=200.5', (300, 200)),
        ('width="50%"', (None, None)),
        ('style="width: 120px; height:80px"', (120, 80)),
        ('style="max-width: 120px"', (None, None)),
        ("", (None, None)),
    ],
)
def test_declared_size(attributes, size):
    (image,) = images(f"<img src=i.png {attributes}>")
    assert (image["declared_width"], image["declared_height"]) == size


def test_place_and_language_are_told():
    (image,) = images('<html lang=en><main><div lang="de"><figure><img src=i.png></figure></div></main>')
    assert image["lang"] == "de" and image["dom_path"] == "html>body>main>div>figure>img" and image["origin"] == "img"
