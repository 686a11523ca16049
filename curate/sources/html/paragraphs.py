"""Division of a run of text from the tree walk into paragraphs."""

import re

BREAK, CELL = "\ufdd0", "\ufdd1"  # noncharacters: no page holds them as text

#: Characters of a table row above which it is layout: its cells become paragraphs.
ROW = 600

_BLANK = re.compile(r"[\s\ufdd0\ufdd1]*")


def blank(parts: list[str]) -> bool:
    """Whether a buffer has no visible text."""
    return all(_BLANK.fullmatch(p) for p in parts)


def paragraphs(joined: str, kind: str) -> list[tuple[str, str]]:
    """The paragraphs in a run of text: white space collapsed, two line breaks split; code keeps its shape; the cells of a
    table row are joined by ` | ` unless they are as long as paragraphs."""
    if kind == "code":
        text = joined.replace(BREAK, "\n").replace(CELL, "\t").strip("\n").rstrip()
        return [("code", text)] if text.strip() else []
    if kind == "table":
        cells = [[t for part in cell.split(BREAK) if (t := " ".join(part.split()))] for cell in joined.split(CELL)]
        filled = [c for c in cells if c]
        if len(filled) > 1 and sum(len(t) for c in filled for t in c) <= ROW:
            return [("table", " | ".join(" ".join(c) for c in cells).strip(" |"))]
        return [("table" if len(filled) > 1 else "paragraph", t) for c in filled for t in c]
    if BREAK not in joined:
        text = " ".join(joined.split())
        return [(kind, text)] if text else []
    lines = [" ".join(line.split()) for line in joined.replace(CELL, " ").split(BREAK)]
    blocks = "\n".join(lines).strip("\n")
    return [(kind, text) for block in re.split(r"\n{2,}", blocks) if (text := block.strip())]
