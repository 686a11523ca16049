"""Data structures of a parsed page: paragraphs and images in page order."""

from dataclasses import dataclass, field

#: Characters kept of a title, an alt text, a caption: every row has its own copy.
MAX_TEXT = 4000


@dataclass(eq=False)
class Mark:
    """Marks an element as boilerplate, with the reason. A guess (by class words) is undone if it covers most of a page."""

    reason: str
    guess: bool
    size: int = 0


@dataclass(eq=False)
class Figure:
    """A figure, or an element used as one, with the captions found in it."""

    outer: "Figure | None" = None
    captions: str = ""

    def add(self, text: str) -> None:
        """Add a caption, up to MAX_TEXT in all."""
        self.captions = f"{self.captions} {text}".strip()[:MAX_TEXT] if len(self.captions) < MAX_TEXT else self.captions

    @property
    def caption(self) -> str | None:
        figure: Figure | None = self
        while figure is not None and not figure.captions:
            figure = figure.outer
        return figure.captions if figure else None


@dataclass(slots=True, eq=False)
class Text:
    """A paragraph. `link_share` is the share of its characters inside links."""

    text: str
    kind: str  # paragraph, heading, list, table, code, caption
    level: int | None  # of a heading, 1 to 6
    lang: str | None  # of the nearest `lang` attribute
    dom_path: str
    link_share: float
    marks: tuple[Mark, ...]


@dataclass(slots=True, eq=False)
class Image:
    """An image. `urls` are raw until the page is finished, then absolute."""

    urls: list[str]
    origin: str  # img, picture, noscript, background, video, object, og
    alt: str | None
    title: str | None
    width: int | None
    height: int | None
    link: str | None  # where a link around it leads
    lang: str | None
    dom_path: str
    marks: tuple[Mark, ...]
    figure: Figure | None = None
    reason: str | None = None
    formula: bool = False  # by its class: its alt text says what it stands for


@dataclass
class Page:
    """A page: its items in page order, and the metadata in its head."""

    items: list[Text | Image] = field(default_factory=list)
    title: str | None = None
    lang: str | None = None
    charset: str | None = None  # Python's codec for what the first `meta` with one declares
    base: str = ""
    og_image: str | None = None
    robots: set[str] = field(default_factory=set)
    licence: str | None = None  # as stated for the page: rel=license, a meta element, JSON-LD
    credits: dict[str, tuple[str | None, str | None]] = field(
        default_factory=dict
    )  # JSON-LD: of pictures, by URL, licence and name
    docbook: bool = False  # its sidebars are boxes in the text
