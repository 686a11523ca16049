"""Classes of HTML elements for text extraction: block or inline, visible or not."""

#: Elements that begin and end paragraphs. Every other one, also unknown and custom ones and MathML, is a part of the line, as in
#: CSS. (`video` is a part of the line too, but is shown as an image here.)
BLOCK = frozenset(
    "address article aside blockquote body caption center col colgroup dd details dialog dir div dl dt fieldset figcaption "
    "figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li listing main menu nav noscript ol "
    "optgroup p plaintext pre search section summary table tbody td tfoot th thead tr ul video xmp".split()
)
#: Elements whose content is no text of the page.
SKIPPED = frozenset(
    "style template svg textarea iframe frameset applet rt rp rtc datalist input audio canvas annotation annotation-xml "
    "param track noembed noframes progress meter option mjx-math".split()
)
#: Elements that are looked at by themselves, without their content.
ALONE = frozenset({"img", "amp-img", "source", "meta", "link", "base", "br", "hr", "title", "script", "math"})
#: Without attributes these change nothing for what is inside.
NEUTRAL = frozenset(
    "div p tbody thead tfoot center form address blockquote td th abbr acronym b bdi bdo big cite data del dfn em font i ins "
    "label mark nobr q rb ruby s samp small span strike strong sub sup time tt u var".split()
)
#: Elements of which a class word says nothing about the whole: code about menus is code.
CODE = frozenset({"code", "pre", "kbd", "samp", "var"})
#: What an element changes in the context of its content.
CHANGES = (
    {f"h{n}": {"kind": "heading", "level": n} for n in range(1, 7)}
    | {tag: {"kind": "list", "row": False} for tag in ("li", "dt", "dd")}
    | {tag: {"kind": "code"} for tag in ("pre", "listing", "xmp", "plaintext")}
    | {
        tag: {"kind": "paragraph", "level": None, "row": False}
        for tag in ("table", "section", "article", "main", "aside", "ul", "ol", "dl", "body", "details", "fieldset")
    }
    | {"tr": {"kind": "table", "row": True}}
)
EMBEDDED = frozenset({"picture", "video", "object", "embed"})
HEADINGS = frozenset(f"h{n}" for n in range(1, 7))
