"""Formulas in a line of text, once each: the TeX that they were made from, where a page has it."""

from selectolax.lexbor import LexborNode

#: Encodings of an `annotation` that are TeX.
_TEX = ("application/x-tex", "application/x-latex", "tex", "latex")
#: Characters of a formula; longer ones are not for a line of text.
MAX_TEX = 4000


def tex(node: LexborNode, tag: str) -> str | None:
    """The TeX of a `math` element (its annotation, or `alttext` as LaTeXML writes it) or of a `script` for MathJax 2."""
    if tag == "script":
        found = node.text() if (node.attributes.get("type") or "").lower().startswith("math/tex") else None
    else:
        found = next(
            (a.text() for a in node.css("annotation") if (a.attributes.get("encoding") or "").lower() in _TEX),
            node.attributes.get("alttext"),
        )
    found = (found or "").strip()
    return f" {found} " if tag == "script" and found else found if 0 < len(found) <= MAX_TEX else None


def drawn(node: LexborNode, tag: str) -> bool:
    """True for characters drawn as a formula that is there as MathML or TeX too: KaTeX has it before, MathJax 2 after them."""
    return tag != "mjx-container" and (node.prev is not None or node.next is not None)
