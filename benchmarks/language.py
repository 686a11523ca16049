"""Recall of `language` on the stamps' captions, fastText alone and with rules: `python benchmarks/language.py`.

The stamps come with the demo (`curate demo` fetches Debian's tuxpaint-stamps-default): one caption, mostly of two to five
words, for each of a thousand pictures, translated by people into up to 78 languages.
"""

from collections import Counter

import numpy as np
import pyarrow as pa

from curate.demo.packages import cache
from curate.filters.language import Language

#: The 21 languages of the published comparison, by fastText's code.
LANGUAGES = (
    "en",
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "sv",
    "da",
    "fi",
    "pl",
    "cs",
    "hu",
    "ru",
    "uk",
    "el",
    "ja",
    "ko",
    "zh",
    "ar",
    "tr",
)
LOCALES = {"zh_CN": "zh", "zh_TW": "zh", "pt_BR": "pt", "en_GB": "en", "en_AU": "en"}


def stamps() -> list[tuple[str, str]]:
    """(language, caption) of the stamps, distinct, without those left in English."""
    rows = []
    for file in sorted((cache() / "debian" / "tuxpaint-stamps-default").rglob("*.txt")):
        lines = file.read_text("utf-8", "replace").splitlines() or [""]
        said = [line.split(".utf8=", 1) for line in lines[1:] if ".utf8=" in line]
        rows += [("en", lines[0].strip())] + [
            (LOCALES.get(k, k), v.strip()) for k, v in said if v.strip() not in ("", lines[0].strip())
        ]
    return list(dict.fromkeys(rows))


def main() -> None:
    rows = [(code, text) for code, text in stamps() if code in LANGUAGES]
    live, recall = pa.table({"text": pa.array([t for _, t in rows], pa.large_string())}), {}
    for rules in (False, True):
        stage = Language(rules=rules)
        stage.load()
        found = stage.run(live)["language"].to_pylist()
        total, right = Counter(c for c, _ in rows), Counter(c for (c, _), f in zip(rows, found) if c == f)
        recall[rules] = {code: right[code] / total[code] for code in LANGUAGES}
        precise = sum(c == f == "en" for (c, _), f in zip(rows, found)) / found.count("en")
        print(
            f"\nlanguage, rules={rules}: mean recall {np.mean(list(recall[rules].values())):.3f} on {len(rows):,} captions; "
            f"precision of en {precise:.3f}"
        )
    print("\n| | " + " | ".join(LANGUAGES) + " |\n|---|" + "---:|" * len(LANGUAGES))
    for rules, name in ((False, "fastText"), (True, "with rules")):
        print(f"| {name} | " + " | ".join(f"{v:.2f}" for v in recall[rules].values()) + " |")


if __name__ == "__main__":
    main()
