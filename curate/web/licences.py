"""Names of licences as people write them: Creative Commons' addresses and marks, SPDX, prose; one spelling for each."""

import re
from collections.abc import Iterable

#: What a licence is called that is stated and not known here, and one that keeps all rights.
OTHER, RESERVED = "other", "all-rights-reserved"

_URL = re.compile(r"creativecommons\.org/(licen[cs]es|publicdomain)/([a-z+-]{2,20})(?:/(\d(?:\.\d)?))?", re.IGNORECASE)
_ZERO = re.compile(r"\b(?:cc[\s_-]*(?:0|zero)|creative\s+commons\s+zero)\b", re.IGNORECASE)
_SHORT = re.compile(r"\bcc[\s_:-]*(by(?:[\s_-]*(?:nc|nd|sa))*)(?:[\s_-]*v?(\d(?:\.\d)?))?(?![a-z])", re.IGNORECASE)
_LONG = re.compile(
    r"\b(?:creative\s+commons|cc)\s+attribution((?:[\s,_-]*(?:non-?commercial|no-?deriv(?:ative)?s?|share-?alike))*)(?:[^\d]{0,12}(\d(?:\.\d)?))?",
    re.IGNORECASE,
)
_WORDS = (("non", "nc"), ("deriv", "nd"), ("alike", "sa"))
_SPDX = re.compile(
    r"mit|apache-2\.0|bsd-[23]-clause|gpl-[23]\.0(?:-only|-or-later)?|odbl-1\.0|pddl-1\.0|fal-1\.3|gfdl-1\.[23]", re.IGNORECASE
)
_PUBLIC = re.compile(r"\bpublic\s*domain\b|\bno\s+known\s+copyright", re.IGNORECASE)
_ALL = re.compile(r"\ball\s+rights\s+reserved\b", re.IGNORECASE)

#: Characters of a statement that are looked at.
_LONGEST = 2000


def licence(stated: str | None) -> str | None:
    """One spelling of a licence: SPDX's identifier in lower case (`cc-by-sa-4.0`, `cc0-1.0`, without a version where none is stated),
    `public-domain`, `all-rights-reserved`, or `other`. None if nothing is stated."""
    text = (stated or "").strip()[:_LONGEST]
    if not text:
        return None
    if found := _URL.search(text):
        return _of_url(*found.groups())
    if _ZERO.search(text):
        return "cc0-1.0"
    if found := _SHORT.search(text):
        return _joined(re.split(r"[\s_-]+", found[1].lower()), found[2])
    if found := _LONG.search(text):
        words = found[1].lower()
        return _joined(["by", *(short for word, short in _WORDS if word in words)], found[2])
    if found := _SPDX.fullmatch(text):
        return found[0].lower()
    return "public-domain" if _PUBLIC.search(text) else RESERVED if _ALL.search(text) else OTHER


def _of_url(kind: str, name: str, version: str | None) -> str:
    if kind.lower() == "publicdomain":
        return "cc0-1.0" if name.lower() == "zero" else "public-domain"
    return _joined(name.lower().split("-"), version)


def _joined(words: list[str], version: str | None) -> str:
    """`cc-by-nc-sa-4.0`, whatever order the words were in."""
    ordered = [w for w in ("by", "nc", "nd", "sa") if w in words]
    if not ordered:
        return OTHER  # a licence of theirs that is out of use
    return "-".join(["cc", *ordered, *([version if "." in version else f"{version}.0"] if version else [])])


def among(found: str, wanted: Iterable[str]) -> bool:
    """Whether a licence is one of those wanted, of which one without a version stands for all of its versions."""
    return any(found == w or (found.startswith(f"{w}-") and found[len(w) + 1].isdigit()) for w in map(str.lower, wanted))
