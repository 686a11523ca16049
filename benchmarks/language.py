"""Recall of `language` on short texts, fastText alone and with rules: `python benchmarks/language.py`.

Captions: the demo's stamps (Debian's tuxpaint-stamps-default): one caption, mostly of two to five words,
for each of a thousand pictures, translated by people into 78 locales. On those of 21 languages the rules were chosen.
Headings: those of the Debian handbook's translations, full of Latin names; a heading that the English edition has too is left
out. They were looked at once: that Latin letters count a third was chosen after most of them had made Greek and Korean Latin.
"""

import html
import re
from collections import Counter

import numpy as np
import pyarrow as pa

from curate.filters.language import Language
from curate.models.packages import PACKAGES, unpacked

#: The 21 languages of the published comparison, by fastText's code.
LANGUAGES = tuple("en de fr es it pt nl sv da fi pl cs hu ru uk el ja ko zh ar tr".split())
LOCALES = {
    "zh_CN": "zh",
    "zh_TW": "zh",
    "pt_BR": "pt",
    "en_GB": "en",
    "en_AU": "en",
    "nb": "no",
    "ca@valencia": "ca",
    "sr@latin": "sr",
}

Said = list[tuple[str, str]]


def stamps() -> Said:
    """(language, caption) of the stamps, distinct, without those left in English."""
    rows = []
    for file in sorted(unpacked(PACKAGES["stamps"]).rglob("*.txt")):
        lines = file.read_text("utf-8", "replace").splitlines() or [""]
        said = [line.split(".utf8=", 1) for line in lines[1:] if ".utf8=" in line]
        rows += [("en", lines[0].strip())] + [
            (LOCALES.get(k, k), v.strip()) for k, v in said if v.strip() not in ("", lines[0].strip())
        ]
    return list(dict.fromkeys(rows))


def headings() -> Said:
    """(language, heading) of the handbook's editions, distinct, of two words and more, without those left in English."""
    found: dict[str, list[str]] = {}
    for file in sorted(unpacked(PACKAGES["handbook"]).rglob("html/*-*/*.html")):
        marked = re.findall(r"<h[1-4][^>]*>(.*?)</h[1-4]>", file.read_text("utf-8", "replace"), re.S)
        plain = (re.sub(r"^[\d. ]+|\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", m))).strip() for m in marked)
        found.setdefault(file.parent.name, []).extend(re.sub(r"^[\d.]+\s*", "", p) for p in plain)
    english = set(found.pop("en-US"))
    code = lambda edition: {"nb": "no"}.get(edition.split("-")[0], edition.split("-")[0])  # noqa: E731
    rows = [(code(e), t) for e, ts in found.items() for t in ts if t not in english and (len(t.split()) > 1 or not t.isascii())]
    return list(dict.fromkeys([("en", t) for t in sorted(english) if len(t.split()) > 1] + rows))


def recalls(rows: Said, stage: Language) -> tuple[dict[str, float], dict[str, float]]:
    """Recall and precision of each language that occurs."""
    stage.load()
    found = stage.run(pa.table({"text": pa.array([t for _, t in rows], pa.large_string())}))["language"].to_pylist()
    total, named, right = Counter(c for c, _ in rows), Counter(found), Counter(c for (c, _), f in zip(rows, found) if c == f)
    return {c: right[c] / n for c, n in total.items()}, {c: right[c] / max(1, named[c]) for c in total}


def compare(what: str, rows: Said) -> None:
    """Both ways side by side: means, then each language."""
    (alone, alone_right), (ruled, ruled_right) = (
        recalls(rows, s) for s in (Language(script_check=False), Language(rules=True))
    )
    checked, checked_right = recalls(rows, Language())
    mean = lambda of: np.mean(list(of.values()))  # noqa: E731
    print(
        f"\n{what}: {len(rows):,} in {len(alone)} languages: mean recall {mean(alone):.3f}, with rules {mean(ruled):.3f}; "
        f"mean precision {mean(alone_right):.3f}, with rules {mean(ruled_right):.3f}; "
        f"English {alone['en']:.2f} and {alone_right['en']:.2f}, with rules {ruled['en']:.2f} and {ruled_right['en']:.2f}\n"
    )
    print(f"with the script check alone: mean recall {mean(checked):.3f}, mean precision {mean(checked_right):.3f}\n")
    print(f"ratio language, {what}, mean recall with rules: {mean(ruled):.3f}\n")
    order = sorted(alone, key=lambda c: (-ruled[c], c))
    for start in range(0, len(order), 21):
        some = order[start : start + 21]
        print("| | " + " | ".join(some) + " |\n|---|" + "---:|" * len(some))
        for of, name in ((alone, "fastText"), (ruled, "with rules")):
            print(f"| {name} | " + " | ".join(f"{of[c]:.2f}" for c in some) + " |")
        print()
    worse = [f"{c} {alone[c]:.2f} → {ruled[c]:.2f}" for c in order if ruled[c] < alone[c] - 0.01]
    print(
        f"better in {sum(ruled[c] > alone[c] for c in order)}, the same in {sum(ruled[c] == alone[c] for c in order)}; "
        f"worse by more than a point in {len(worse)}: {', '.join(worse)}"
    )


def named() -> set[str]:
    """The languages that the model has labels for."""
    stage = Language()
    stage.load()
    return {label.removeprefix("__label__") for label in stage._model.get_labels()}


def main() -> None:
    known, said = named(), stamps()
    strange = Counter(c for c, _ in said if c not in known)
    compare("captions, the languages that the rules were chosen on", [(c, t) for c, t in said if c in LANGUAGES])
    compare("captions, every language that the model names", [(c, t) for c, t in said if c in known])
    print(f"\ncaptions in languages that the model does not name: {', '.join(f'{c} {n}' for c, n in sorted(strange.items()))}")
    compare("headings", [(c, t) for c, t in headings() if c in known])


if __name__ == "__main__":
    main()
