"""One walk over the tree of a page: paragraphs and images in page order, boilerplate marked.

The walk keeps its own stack (a page can nest a million elements) and a context that elements inherit. Text gathers in a
buffer until a block begins or ends; an image ends the paragraph before it, unless it is an icon inside a line.
"""

from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from curate.sources.html import boilerplate, image_urls, images
from curate.sources.html.boilerplate import Names
from curate.sources.html.page import Figure, Image, Mark, Page, Text
from curate.sources.html.paragraphs import BREAK, CELL, blank, paragraphs
from curate.sources.html.settle import finish
from curate.web.headers import for_robots, opt_outs, reserved

#: Elements walked of one page. The largest page of 10,000 manuals has 300,000.
MAX_NODES = 1_000_000
#: Elements named in a DOM path, innermost first.
PATH = 24

INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark math nobr output q rb ruby s samp small "
    "span strike strong sub sup time tt u var wbr slot mi mn mo mrow msub msup mfrac mtext semantics".split()
)
SKIPPED = frozenset(
    "script style template svg textarea iframe frameset applet rt rp rtc datalist input audio canvas annotation annotation-xml "
    "param track link noembed noframes progress meter option".split()
)
VOID_HANDLED = frozenset({"img", "amp-img", "source", "meta", "base", "br", "hr", "title"})
#: Without attributes these change nothing for what is inside.
NEUTRAL = (INLINE - {"a"}) | set("div p tbody thead tfoot center form address blockquote td th".split())
#: What an element changes in the context of its content.
CHANGES = (
    {f"h{n}": {"kind": "heading", "level": n} for n in range(1, 7)}
    | {tag: {"kind": "list", "row": False} for tag in ("li", "dt", "dd")}
    | {tag: {"kind": "code"} for tag in ("pre", "listing", "xmp", "plaintext")}
    | {
        tag: {"kind": "paragraph", "level": None, "row": False}
        for tag in ("table", "section", "article", "main", "aside", "ul", "ol", "dl", "body", "details", "fieldset")
    }
    | {"tr": {"kind": "table", "row": True}, "noscript": {"noscript": True}}
)
EMBEDDED = frozenset({"picture", "video", "object", "embed"})


class Context(NamedTuple):
    """What elements inherit."""

    kind: str = "paragraph"
    level: int | None = None
    lang: str | None = None
    link: str | None = None
    marks: tuple[Mark, ...] = ()
    figure: Figure | None = None
    inside_main: bool = False
    noscript: bool = False
    row: bool = False  # inside a table row, where blocks are soft breaks
    caption: Figure | None = None


class TooManyNodes(Exception):
    """The page has more elements than MAX_NODES."""


class Walk:
    """The state of one walk."""

    def __init__(self):
        self.page = Page()
        self.context = Context()
        self.frames: list[tuple[LexborNode, str, Context, bool]] = []  # open elements; context outside; is it a block
        self.buffer: list[str] = []
        self.link_chars = 0
        self.waiting: list[Image] = []  # icons inside the line being gathered
        self.sources: list[dict] = []
        self.nodes = 0

    def run(self, root: LexborNode) -> Page:
        node: LexborNode | None = root
        while node is not None:
            self.nodes += 1
            if self.nodes > MAX_NODES:
                raise TooManyNodes
            tag = node.tag
            if tag == "-text":
                self.text(node.text_content or "")
                child = None
            else:
                child = node.first_child if self.enter(node, tag) else None
            if child is not None:
                node = child
                continue
            if self.frames and self.frames[-1][0] is node:
                self.leave()
            after = node.next
            while after is None and self.frames:
                after = self.frames[-1][0].next
                self.leave()
            node = after
        self.flush()
        return self.page

    # ---- elements

    def enter(self, node: LexborNode, tag: str) -> bool:
        """Take an element in; True to go into it (then a frame is open)."""
        if tag in SKIPPED or tag[0] == "-":  # "-comment", "-doctype" and the like
            return False
        if tag in VOID_HANDLED:
            self.void(node, tag)
            return False
        attributes, outside = node.attributes, self.context
        inside = outside
        if attributes or tag not in NEUTRAL:
            names = boilerplate.named(attributes.get("class"), attributes.get("id"))
            if names.skipped:
                return False
            inside = self.inherited(tag, attributes, names, outside)
        block = tag not in INLINE or inside.marks is not outside.marks
        if block:
            self.open_block(tag, inside)
        if tag in EMBEDDED or not image_urls.BACKGROUNDS.isdisjoint(attributes):
            self.embedded(tag, attributes, inside)
        self.context = inside
        self.frames.append((node, tag, outside, block))
        return True

    def inherited(self, tag: str, attributes: dict, names: Names, outside: Context) -> Context:
        """The context inside an element."""
        changed: dict = {}
        if "lang" in attributes or "xml:lang" in attributes:
            changed["lang"] = attributes.get("lang") or attributes.get("xml:lang")
        if tag == "a":
            changed["link"] = attributes.get("href") or ""
        elif tag == "html":
            self.page.lang = changed.get("lang")
        elif tag not in INLINE:
            changed |= self.block_context(tag, attributes, names, outside)
        marks = self.marks(tag, attributes, names, changed.get("marks", outside.marks), outside)
        if marks is not outside.marks:
            changed["marks"] = marks
        return outside._replace(**changed) if changed else outside

    def block_context(self, tag: str, attributes: dict, names: Names, outside: Context) -> dict:
        changed: dict = dict(CHANGES.get(tag, ()))
        if tag in ("main", "article") or attributes.get("role") == "main":
            changed["inside_main"] = True
            if tag != "article" and any(m.guess for m in outside.marks):
                changed["marks"] = tuple(m for m in outside.marks if not m.guess)
        if tag == "figcaption" or names.caption or (names.title and outside.figure):
            changed |= {"kind": "caption", "level": None, "caption": outside.figure}
        elif tag == "figure" or names.figure:
            changed["figure"] = Figure(outer=outside.figure)
        return changed

    def marks(self, tag: str, attributes: dict, names: Names, marks: tuple[Mark, ...], outside: Context) -> tuple[Mark, ...]:
        """The boilerplate marks inside an element."""
        if tag in ("html", "body", "main", "article", "h1"):
            return tuple(m for m in marks if m.reason != "header") if tag == "h1" and marks else marks
        reason = boilerplate.certain(tag, attributes, outside.inside_main)
        guess = reason is None
        if guess and tag not in ("code", "pre") and not (names.reason == "aside" and self.page.docbook):
            reason = names.reason
        return (*marks, Mark(reason, guess)) if reason else marks

    def open_block(self, tag: str, inside: Context) -> None:
        """A block begins: end the paragraph before it, or in a table row make a soft break."""
        if tag in ("td", "th") and inside.row:
            if self.buffer:
                self.buffer.append(CELL)
        elif tag in ("p", "div", "center", "picture") and self.context.row and self.soft(inside, self.context):
            self.buffer.append(BREAK)
        elif tag != "picture" and (self.buffer or self.waiting):
            self.flush()

    def soft(self, inside: Context, outside: Context) -> bool:
        """True for a block in a table cell that is only a line of it."""
        return inside.row and inside.kind == "table" and inside.marks is outside.marks and inside.figure is outside.figure

    def leave(self) -> None:
        """Close the innermost open element."""
        _, tag, outside, block = self.frames[-1]
        if block and tag != "picture":
            if outside.row and self.soft(self.context, outside):
                self.buffer.append(BREAK)
            elif self.buffer or self.waiting:
                self.flush()
        self.frames.pop()
        self.context = outside

    def void(self, node: LexborNode, tag: str) -> None:
        """Elements without content of their own."""
        if tag == "br":
            self.buffer.append(BREAK)
        elif tag == "hr":
            self.flush()
        elif tag in ("img", "amp-img"):
            self.image(node.attributes)
        elif tag == "source":
            if self.frames and self.frames[-1][1] == "picture":
                self.sources.append(node.attributes)
        elif tag == "title":
            self.page.title = self.page.title or " ".join((node.text() or "").split()) or None
        elif tag == "base":
            self.page.base = self.page.base or (node.attributes.get("href") or "").strip()
        else:
            self.meta(node.attributes)

    def meta(self, attributes: dict) -> None:
        name = (attributes.get("name") or attributes.get("property") or attributes.get("http-equiv") or "").strip().lower()
        content = attributes.get("content") or ""
        if name == "generator":
            self.page.docbook = "docbook" in content.lower() or "publican" in content.lower()
        elif name in ("og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"):
            self.page.og_image = self.page.og_image or content.strip() or None
        elif for_robots(name):
            self.page.robots |= opt_outs([content])
        elif name.replace("_", "-") == "tdm-reservation" and reserved([content]):
            self.page.robots.add("tdm-reservation")

    # ---- text

    def text(self, piece: str) -> None:
        if not self.buffer and piece.isspace():
            return
        self.buffer.append(piece)
        if self.context.link is not None:
            self.link_chars += len("".join(piece.split()))

    def flush(self) -> None:
        """The buffer becomes paragraphs of the current context; icons that stood in it follow."""
        if self.buffer:
            joined, self.buffer = "".join(self.buffer), []
            for kind, text in paragraphs(joined, self.context.kind):
                self.emit(kind, text)
            self.link_chars = 0
        if self.waiting:
            self.page.items += self.waiting
            self.waiting = []

    def emit(self, kind: str, text: str) -> None:
        context, size = self.context, len("".join(text.split()))
        share = min(1.0, self.link_chars / size) if size else 0.0
        level = context.level if kind == "heading" else None
        marks = (*context.marks, Mark("noscript", False)) if context.noscript else context.marks
        self.page.items.append(Text(text, kind, level, context.lang, self.path(), share, marks))
        if kind == "caption" and context.caption is not None:
            context.caption.captions.append(text)

    def path(self, last: str = "") -> str:
        names = [f[1] for f in self.frames[-PATH:]]
        return ">".join([*names, last] if last else names)

    # ---- images

    def image(self, attributes: dict) -> None:
        context = self.context
        picture = bool(self.frames) and self.frames[-1][1] == "picture"
        urls = image_urls.candidates(attributes, self.sources if picture else ())
        origin = "noscript" if context.noscript else "picture" if picture and self.sources else "img"
        self.place(self.made(urls, origin, attributes, context))

    def made(self, urls: list[str], origin: str, attributes: dict, context: Context) -> Image:
        marks = context.marks
        if "hidden" in attributes and not context.noscript:
            marks = (*marks, Mark("hidden", False))
        path = self.path("img" if origin in ("img", "picture", "noscript") else "")
        return images.made(urls, origin, attributes, context.link or None, context.lang, path, marks, context.figure)

    def place(self, image: Image) -> None:
        """An icon inside a line waits for the line's end; any other image ends the paragraph before it."""
        symbol = images.symbol(image)
        if (symbol or images.icon(image)) and not blank(self.buffer):
            if symbol:
                self.buffer.append(f" {image.alt} ")
            self.waiting.append(image)
            return
        last = self.page.items[-1] if self.page.items else None
        if image.origin == "noscript" and isinstance(last, Image) and blank(self.buffer) and images.twin(last, image):
            return
        self.flush()
        self.page.items.append(image)

    def embedded(self, tag: str, attributes: dict, inside: Context) -> None:
        """What an element shows besides its content: a background, the poster of a video, an `object` that is an image file."""
        if tag == "picture":
            self.sources = []
        urls, origin = image_urls.background(attributes), "background"
        if tag in EMBEDDED:
            url = attributes.get({"video": "poster", "object": "data"}.get(tag, "src"))
            if url and (tag == "video" or (attributes.get("type") or "").startswith("image/") or image_urls.image_link(url)):
                urls, origin = [url.strip()], tag
        if urls:
            self.flush()
            self.page.items.append(self.made(urls, origin, attributes, inside))


def parse(html: str, url: str) -> Page:
    """The page of an HTML text found at `url`. Raises TooManyNodes."""
    root = LexborHTMLParser(html, options=1).root
    page = Walk().run(root) if root is not None else Page()
    finish(page, url)
    return page
