"""Readers of the packages: drafts of image-text pairs with captions, pictures not yet opened.

One function a source; each yields drafts in a fixed order (by file name or code point).
"""

import html
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Languages that captions are taken in, by emojibase's folder and by a stamp's locale; codes as fastText's lid.176 has them.
EMOJI_LANGUAGES = {
    "da": "da",
    "de": "de",
    "es": "es",
    "fr": "fr",
    "hi": "hi",
    "hu": "hu",
    "it": "it",
    "ja": "ja",
    "ko": "ko",
    "nl": "nl",
    "pl": "pl",
    "pt": "pt",
    "ru": "ru",
    "sv": "sv",
    "th": "th",
    "uk": "uk",
    "vi": "vi",
    "zh": "zh",
}
STAMP_LANGUAGES = EMOJI_LANGUAGES | {
    "ar": "ar",
    "bg": "bg",
    "ca": "ca",
    "cs": "cs",
    "el": "el",
    "fi": "fi",
    "he": "he",
    "ta": "ta",
    "tr": "tr",
    "zh_CN": "zh",
}

SKIN_TONES = re.compile(r"1f3f[b-f]", re.IGNORECASE)
#: Clip-art titles that occur more often than this do not describe their picture (1,375 are "gramastar").
MAX_SAME_TITLE = 3


@dataclass(frozen=True)
class Draft:
    """A pair before its picture is opened."""

    source: str
    key: str  # unique within the source
    title: str  # what it shows; pairs with the same title show the same thing in another style
    text: str  # the caption: the title, and up to four keywords in brackets
    licence: str
    picture: Path  # a picture file, or a zip that holds it
    member: str = ""  # its name in the zip
    captions: dict[str, str] = field(default_factory=dict)  # in other languages, by code


def caption(title: str, keywords: list[str]) -> str:
    """A caption like `weary face (crying, sad, tired)`, without keywords that are in the title."""
    title_words = set(title.lower().split())
    extra = [k for k in dict.fromkeys(k.strip() for k in keywords) if k and not set(k.lower().split()) <= title_words]
    return f"{title} ({', '.join(extra[:4])})" if extra else title


def _code(hexcode: str) -> str:
    """An emoji's code points without the variation selector, which packages use inconsistently."""
    return "-".join(c for c in hexcode.lower().split("-") if c != "fe0f")


def _labels(emojibase: Path, language: str) -> dict[str, tuple[str, list[str]]]:
    """Code points -> (label, tags) in one language."""
    entries = json.loads((emojibase / "package" / language / "data.json").read_text(encoding="utf-8"))
    return {_code(e["hexcode"]): (e["label"], e.get("tags", [])) for e in entries}


class Emoji:
    """Emoji names in many languages by code points, which join them to the pictures of any style."""

    def __init__(self, emojibase: Path):
        self.names = _labels(emojibase, "en")
        self.other = {code: _labels(emojibase, folder) for folder, code in EMOJI_LANGUAGES.items()}

    def captions(self, code: str) -> dict[str, str]:
        """The captions of an emoji by language, for languages with a name that differs from the English one."""
        english = self.names.get(code, ("", []))[0]
        found = ((lang, names[code]) for lang, names in self.other.items() if code in names)
        return {lang: caption(*name) for lang, name in found if name[0] != english and "\\x" not in name[0]}

    def draft(
        self, source: str, code: str, licence: str, picture: Path, title: str = "", tags: list[str] | None = None
    ) -> Draft:
        """The draft of an emoji. title: for emoji without a name in emojibase; tags: replace emojibase's."""
        label, own = self.names.get(code, (title, []))
        return Draft(
            source, code, label, caption(label, own if tags is None else tags), licence, picture, captions=self.captions(code)
        )


def openmoji(package: Path, emoji: Emoji) -> Iterator[Draft]:
    """OpenMoji's flat drawings (SVG): one for each emoji and symbol, without skin tones."""
    entries = json.loads((package / "package/data/openmoji.json").read_text(encoding="utf-8"))
    for e in sorted(entries, key=lambda e: e["hexcode"]):
        picture = package / "package/color/svg" / f"{e['hexcode']}.svg"
        if e["skintone"] or SKIN_TONES.search(e["hexcode"]) or not picture.exists():
            continue
        tags = f"{e['openmoji_tags']}, {e['tags']}".split(",")
        yield emoji.draft("openmoji", _code(e["hexcode"]), "CC-BY-SA-4.0", picture, e["annotation"], tags)


def fluent(package: Path, emoji: Emoji) -> Iterator[Draft]:
    """Microsoft Fluent's three-dimensional renders of emoji (WebP, 256 px)."""
    yield from _styled("fluent", sorted((package / "package/assets").glob("*.webp")), "MIT", emoji)


def noto(package: Path, emoji: Emoji) -> Iterator[Draft]:
    """Google Noto's emoji (PNG, 64 px)."""
    yield from _styled("noto", sorted((package / "package/img/google/64").glob("*.png")), "Apache-2.0", emoji)


def _styled(source: str, pictures: list[Path], licence: str, emoji: Emoji) -> Iterator[Draft]:
    by_code = {_code(picture.stem): picture for picture in reversed(pictures)}
    for code, picture in sorted(by_code.items()):
        if code in emoji.names and not SKIN_TONES.search(code):
            yield emoji.draft(source, code, licence, picture)


def stamps(package: Path) -> Iterator[Draft]:
    """Photos and drawings with one human caption each, translated into up to 78 locales (Tux Paint)."""
    root = package / "usr/share/tuxpaint/stamps"
    for note in sorted(root.rglob("*.txt")):
        pictures = [p for suffix in (".png", ".svg") if (p := note.with_suffix(suffix)).exists()]
        lines = note.read_text(encoding="utf-8", errors="replace").splitlines()
        english = lines[0].strip() if lines else ""
        if not pictures or not english or note.stem.endswith(("_mirror", "_flip")):
            continue
        found = dict(re.findall(r"^(\w+)\.utf8=\s*(\S.*?)\s*$", "\n".join(lines[1:]), re.MULTILINE))
        other = {STAMP_LANGUAGES[k]: v for k, v in found.items() if k in STAMP_LANGUAGES and v != english}
        key = str(note.relative_to(root).with_suffix(""))
        yield Draft("stamps", key, english, english, "GPL-2", pictures[0], captions=other)


def clipart(svg: Path, png: Path) -> Iterator[Draft]:
    """Open Clip Art: titles and keywords from the SVG, pixels from its PNG twin at the same relative path."""
    root, twins = svg / "usr/share/openclipart/svg", png / "usr/share/openclipart/png"
    files = [f for f in sorted(root.rglob("*.svg")) if (twins / f.relative_to(root).with_suffix(".png")).exists()]
    notes = [_dublin_core(f) for f in files]
    often = Counter(title.lower() for title, _ in notes)
    for file, (title, keywords) in zip(files, notes):
        where = file.relative_to(root).with_suffix("")
        if title.lower() == "gramastar":
            continue
        if not title or often[title.lower()] > MAX_SAME_TITLE:
            title = re.sub(r"[\W_\d]+", " ", where.name).strip()
        if len(title) > 2:
            yield Draft(
                "clipart", str(where), title, caption(title, keywords), "public domain", twins / where.with_suffix(".png")
            )


def _dublin_core(file: Path) -> tuple[str, list[str]]:
    """Title and keywords of an SVG's metadata, found by patterns, since many of these files are not well-formed XML."""
    text = file.read_text(encoding="utf-8", errors="replace")
    work = text[text.find("<metadata") : text.find("</metadata>")]
    title = re.search(r"<dc:title[^>]*>([^<]*)<", work)
    subject = re.search(r"<dc:subject>(.*?)</dc:subject>", work, re.DOTALL)
    words = re.findall(r"<rdf:li[^>]*>([^<]*)<", subject[1]) if subject else []
    clean = [" ".join(html.unescape(w).replace("_", " ").split()) for w in [title[1] if title else "", *words]]
    return clean[0], clean[1:]


def furniture(package: Path) -> Iterator[Draft]:
    """Renders of furniture, people and vehicles (PNG, 128 px) in five catalogues of Sweet Home 3D."""
    for file in sorted((package / "usr/share/sweethome3d/furniture").glob("*.sh3f")):
        with zipfile.ZipFile(file) as archive:
            members = set(archive.namelist())
            fields = _properties(archive.read("PluginFurnitureCatalog.properties").decode("latin-1"))
        licence = "CC0-1.0" if "CC-0" in file.name else "CC-BY-3.0"
        for number in sorted({int(k.split("#")[1]) for k in fields if k.startswith("name#")}):
            name, icon = fields[f"name#{number}"], fields.get(f"icon#{number}", "").lstrip("/")
            keywords = [fields.get(f"category#{number}", ""), *fields.get(f"tags#{number}", "").split(",")[1:]]
            if icon in members:
                yield Draft("furniture", f"{file.stem}/{number}", name, caption(name, keywords), licence, file, icon)


def _properties(text: str) -> dict[str, str]:
    """A Java properties file: `key=value` lines with \\uXXXX escapes."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {k.strip(): re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), v).strip() for k, v in pairs}
