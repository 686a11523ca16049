"""One walk over the tree of a page: paragraphs and images in page order, boilerplate marked.

The walk keeps its own stack (a page can nest a million elements) and a context that elements inherit. Text gathers in a
buffer until a block begins or ends; an image ends the paragraph before it, unless it is an icon inside a line.
"""

from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from curate.sources.html import boilerplate, charset, formulas, image_urls, images, linked_data, shadow
from curate.sources.html.boilerplate import Names
from curate.sources.html.elements import ALONE, BLOCK, CHANGES, CODE, EMBEDDED, NEUTRAL, SKIPPED
from curate.sources.html.page import MAX_TEXT, Figure, Image, Mark, Page, Text
from curate.sources.html.paragraphs import BREAK, CELL, blank, paragraphs
from curate.sources.html.settle import finish
from curate.web.headers import for_robots, opt_outs, reserved

#: Elements walked of one page. The largest page of 10,000 manuals has 300,000.
MAX_NODES = 1_000_000
#: Paragraphs and images of one page: they become rows.
MAX_ITEMS = 200_000
#: Elements named in a DOM path, innermost first.
PATH = 24

#: Meta elements that state the licence of their page.
LICENCE = frozenset({"dc.rights.license", "dcterms.license", "dc.license", "license", "dcterms.rights", "dc.rights"})

#: Characters kept of a `lang` attribute (BCP 47: 35) and of an element's name in a path.
LANG, NAME = 64, 32


class Context(NamedTuple):
    """Properties that elements inherit from their parents."""

    kind: str = "paragraph"
    level: int | None = None
    lang: str | None = None
    link: str | None = None
    marks: tuple[Mark, ...] = ()
    figure: Figure | None = None
    inside_main: bool = False
    noscript: bool = False
    row: bool = False  # inside a table row, where blocks are soft breaks
    silent: bool = False  # not shown, inside a line
    caption: Figure | None = None


class TooManyNodes(Exception):
    """The page has more elements than MAX_NODES, or more paragraphs and images than MAX_ITEMS."""


class Walk:
    """The state of one walk. `shadows`: may there be shadow trees?"""

    def __init__(self, shadows: bool = False):
        self.page = Page()
        self.shadows = shadow.Hosts() if shadows else None
        self.context = Context()
        self.frames: list[tuple[LexborNode, str, Context, bool]] = []  # open elements; context outside; is it a block
        self.buffer: list[str] = []
        self.link_chars = 0
        self.marks: tuple[Mark, ...] | None = None  # of all that is in the buffer
        self.waiting: list[Image] = []  # icons inside the line being gathered
        self.sources: list[dict] = []
        self.nodes = 0

    def run(self, root: LexborNode) -> Page:
        self.walk(root)
        self.flush()
        return self.page

    def walk(self, node: LexborNode | None, alone: bool = False) -> None:
        """Process a node with its descendants, and unless `alone` its following siblings."""
        frames = self.frames
        base = len(frames)
        while node is not None:
            self.nodes += 1
            if self.nodes > MAX_NODES:
                raise TooManyNodes
            tag = node.tag
            if tag == "-text":
                self.text(node.text_content or "")
            elif self.enter(node, tag) and (child := node.first_child) is not None:
                node = child
                continue
            elif len(frames) > base and frames[-1][0] is node:
                self.leave()
            while (after := node.next if not alone or len(frames) > base else None) is None and len(frames) > base:
                node = frames[-1][0]
                self.leave()
            node = after

    # ---- elements

    def enter(self, node: LexborNode, tag: str) -> bool:
        """Process an element's start; True to walk its children (then a frame is open)."""
        if tag in SKIPPED or tag[0] == "-":  # "-comment", "-doctype" and the like
            return False
        if tag in ALONE and not self.alone(node, tag):
            return False
        attributes, outside = node.attributes, self.context
        inside = outside
        if attributes or tag not in NEUTRAL:
            names = boilerplate.named(attributes.get("class"), attributes.get("id"))
            if names.skipped or (names.drawn and formulas.drawn(node, tag)):
                return False
            inside = self.inherited(node, tag, attributes, names, outside)
        block = tag in BLOCK and (not inside.silent or tag == "video")
        if block:
            self.open_block(tag, inside)
        if tag in EMBEDDED or not image_urls.BACKGROUNDS.isdisjoint(attributes):
            self.embedded(tag, attributes, inside, block)
        self.context = inside
        self.frames.append((node, tag if len(tag) <= NAME else tag[:NAME], outside, block))
        if self.shadows is not None:
            return self.shadows.enter(node, tag, attributes, self.walk)
        return True

    def inherited(self, node: LexborNode, tag: str, attributes: dict, names: Names, outside: Context) -> Context:
        """The context inside an element."""
        changed: dict = {}
        if "lang" in attributes or "xml:lang" in attributes:
            lang = attributes.get("lang") or attributes.get("xml:lang")
            changed["lang"] = lang if lang and len(lang) <= LANG else None
        if tag == "a":
            changed["link"] = attributes.get("href") or ""
            self.licensed(attributes)
        elif tag == "html":
            self.page.lang = changed.get("lang")
        elif tag == "video":  # what is in it is for browsers that show none
            changed["silent"] = True
        elif tag == "noscript":
            changed["silent" if self.buffer and not blank(self.buffer) else "noscript"] = True
        elif tag in BLOCK or "-" in tag:
            changed |= self.block_context(tag, attributes, names, outside)
        marks = self.marked(node, tag, attributes, names, changed.get("marks", outside.marks), outside)
        if marks is not outside.marks:
            changed["marks"] = marks
            if tag not in BLOCK and marks and marks[-1].reason == "hidden":
                changed["silent"] = True
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

    def marked(
        self, node: LexborNode, tag: str, attributes: dict, names: Names, marks: tuple[Mark, ...], outside: Context
    ) -> tuple[Mark, ...]:
        """The boilerplate marks inside an element."""
        if tag in ("html", "body", "main", "article", "h1"):
            return tuple(m for m in marks if m.reason != "header") if tag == "h1" and marks else marks
        reason = boilerplate.certain(tag, attributes, outside.inside_main)
        guess = reason is None
        if guess and (names.reason or names.by_id) and tag not in CODE:
            reason = names.reason or self.by_id(node, tag, names)
            if reason == "aside" and self.page.docbook:
                reason = None
        return (*marks, Mark(reason, guess)) if reason else marks

    def by_id(self, node: LexborNode, tag: str, names: Names) -> str | None:
        """The boilerplate reason by an element's id, unless the id was made from its heading."""
        if tag not in boilerplate.CONTAINERS:
            return None
        heading = boilerplate.first_heading(node)
        section = tag == "section" or names.section
        made = heading and boilerplate.from_heading(node.attributes["id"] or "", heading, section)
        return None if made else names.by_id

    def open_block(self, tag: str, inside: Context) -> None:
        """A block begins: end the paragraph before it, or in a table row make a soft break."""
        if tag in ("td", "th") and inside.row:
            if self.buffer:
                self.buffer.append(CELL)
        elif tag in ("p", "div", "center") and self.context.row and self.soft(inside, self.context):
            self.buffer.append(BREAK)
        elif self.buffer or self.waiting:
            self.flush()

    def soft(self, inside: Context, outside: Context) -> bool:
        """True for a block in a table cell that is only a line of it."""
        return inside.row and inside.kind == "table" and inside.marks is outside.marks and inside.figure is outside.figure

    def leave(self) -> None:
        """Close the innermost open element."""
        _, _, outside, block = self.frames[-1]
        if block:
            if outside.row and self.soft(self.context, outside):
                self.buffer.append(BREAK)
            elif self.buffer or self.waiting:
                self.flush()
        self.frames.pop()
        self.context = outside

    def alone(self, node: LexborNode, tag: str) -> bool:
        """Process an element without walking its children; True for a formula whose children must be walked."""
        if tag == "br":
            self.buffer.append(BREAK)
        elif tag == "hr":
            self.flush()
        elif tag in ("img", "amp-img"):
            self.image(node.attributes)
        elif tag == "link":
            self.licensed(node.attributes)
        elif tag == "script" and "ld+json" in (node.attributes.get("type") or "").lower():
            licence, credits = linked_data.credits(node.text())
            self.page.licence, self.page.credits = self.page.licence or licence, self.page.credits | credits
        elif tag in ("math", "script"):
            tex = formulas.tex(node, tag)
            self.text(tex or "")
            return tag == "math" and not tex
        elif tag == "source":
            if self.frames and self.frames[-1][1] == "picture":
                self.sources.append(node.attributes)
        elif tag == "title":
            self.page.title = self.page.title or images.one_line(node.text())
        elif tag == "base":
            self.page.base = self.page.base or (node.attributes.get("href") or "").strip()
        else:
            self.meta(node.attributes)
        return False

    def meta(self, attributes: dict) -> None:
        name = (attributes.get("name") or attributes.get("property") or attributes.get("http-equiv") or "").strip().lower()
        content = attributes.get("content") or ""
        self.page.charset = self.page.charset or charset.meta_codec(attributes)
        if name == "generator":
            self.page.docbook = "docbook" in content.lower() or "publican" in content.lower()
        elif name in ("og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"):
            self.page.og_image = self.page.og_image or content.strip() or None
        elif name in LICENCE:
            self.page.licence = self.page.licence or content.strip()[:MAX_TEXT] or None
        elif for_robots(name):
            self.page.robots |= opt_outs([content])
        elif name.replace("_", "-") == "tdm-reservation" and reserved([content]):
            self.page.robots.add("tdm-reservation")

    def licensed(self, attributes: dict) -> None:
        """A link that names the licence of the page (HTML: rel=license)."""
        if "license" in (attributes.get("rel") or "").lower().split():
            self.page.licence = self.page.licence or (attributes.get("href") or "").strip()[:MAX_TEXT] or None

    # ---- text

    def text(self, piece: str) -> None:
        context, space = self.context, not piece or piece.isspace()
        if (space and not self.buffer) or context.silent:
            return
        self.buffer.append(piece)
        if self.marks is not context.marks and not space:
            self.marks = context.marks if self.marks is None else common(self.marks, context.marks)
        if context.link is not None:
            self.link_chars += len("".join(piece.split()))

    def flush(self) -> None:
        """The buffer becomes paragraphs of the current context; icons that stood in it follow."""
        if self.buffer:
            joined, self.buffer = "".join(self.buffer), []
            for kind, text in paragraphs(joined, self.context.kind):
                self.emit(kind, text)
            self.link_chars, self.marks = 0, None
        if self.waiting:
            self.page.items += self.waiting
            self.waiting = []
        if len(self.page.items) > MAX_ITEMS:
            raise TooManyNodes

    def emit(self, kind: str, text: str) -> None:
        context, size = self.context, len("".join(text.split()))
        share = min(1.0, self.link_chars / size) if size else 0.0
        level = context.level if kind == "heading" else None
        marks = context.marks if self.marks is None else self.marks
        marks = (*marks, Mark("noscript", False)) if context.noscript else marks
        self.page.items.append(Text(text, kind, level, context.lang, self.path(), share, marks))
        if kind == "caption" and context.caption is not None:
            context.caption.add(text)

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
        """A formula, and an icon inside a line, wait for the line's end; any other image ends the paragraph before it."""
        if images.symbol(image) and not self.context.silent:
            self.text(f" {image.alt} ")
            image.reason = image.reason or "symbol"
            self.waiting.append(image)
            return
        if (images.icon(image) or self.context.silent) and not blank(self.buffer):
            self.waiting.append(image)
            return
        last = self.page.items[-1] if self.page.items else None
        if image.origin == "noscript" and isinstance(last, Image) and blank(self.buffer) and images.twin(last, image):
            return
        self.flush()
        self.page.items.append(image)

    def embedded(self, tag: str, attributes: dict, inside: Context, block: bool) -> None:
        """Add the images of an element besides its content: a background, the poster of a video, an `object` that is an image file."""
        if tag == "picture":
            self.sources = []
        urls, origin = image_urls.background(attributes), "background"
        if tag in EMBEDDED:
            url = attributes.get({"video": "poster", "object": "data"}.get(tag, "src"))
            if url and (tag == "video" or (attributes.get("type") or "").startswith("image/") or image_urls.image_link(url)):
                urls, origin = [url.strip()], tag
        if not urls:
            return
        image = self.made(urls, origin, attributes, inside)
        if block or tag in EMBEDDED or blank(self.buffer):
            self.flush()
            self.page.items.append(image)
        else:
            self.waiting.append(image)


def common(marks: tuple[Mark, ...], others: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """The marks of a line of two parts: where both have marks of their own, all of it is boilerplate; a marked word in a sentence
    is a word of the sentence."""
    shared = tuple(m for m in marks if m in others)
    return marks if len(marks) > len(shared) and len(others) > len(shared) else shared


def parse(html: str, url: str) -> Page:
    """The page of an HTML text found at `url`. Raises TooManyNodes."""
    root = LexborHTMLParser(html, options=1).root
    page = Walk("shadowrootmode" in html).run(root) if root is not None else Page()
    finish(page, url)
    return page
