"""What one page holds, in page order: paragraphs and images, as plain values."""

from dataclasses import dataclass, field


@dataclass(eq=False)
class Mark:
    """An element that is not content, and why. A guess (from class words) is taken back where it covers most of a page."""

    reason: str
    guess: bool
    size: int = 0


@dataclass(eq=False)
class Figure:
    """A figure, or what a site uses as one; the captions found in it."""

    outer: "Figure | None" = None
    captions: list[str] = field(default_factory=list)

    @property
    def caption(self) -> str | None:
        figure: Figure | None = self
        while figure is not None and not figure.captions:
            figure = figure.outer
        return " ".join(figure.captions) if figure else None


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


@dataclass
class Page:
    """A page, its items in page order, and what its head says."""

    items: list[Text | Image] = field(default_factory=list)
    title: str | None = None
    lang: str | None = None
    base: str = ""
    og_image: str | None = None
    robots: set[str] = field(default_factory=set)
    docbook: bool = False  # its sidebars are boxes in the text
