"""Writing systems: which one a text is written in, and the languages that are written in it (codes as fastText's lid.176
has them)."""

import bisect
import re
from collections import Counter
from functools import cache

#: First and last code point of blocks, and their script. Han is shared by Chinese and Japanese; kana only Japanese has.
_BLOCKS = (
    (0x41, 0x5A, "latin"),
    (0x61, 0x7A, "latin"),
    (0xC0, 0xD6, "latin"),
    (0xD8, 0xF6, "latin"),
    (0xF8, 0x24F, "latin"),
    (0x370, 0x3FF, "greek"),
    (0x400, 0x52F, "cyrillic"),
    (0x531, 0x58F, "armenian"),
    (0x591, 0x5FF, "hebrew"),
    (0x600, 0x6FF, "arabic"),
    (0x750, 0x77F, "arabic"),
    (0x780, 0x7BF, "thaana"),
    (0x8A0, 0x8FF, "arabic"),
    (0x900, 0x97F, "devanagari"),
    (0x980, 0x9FF, "bengali"),
    (0xA00, 0xA7F, "gurmukhi"),
    (0xA80, 0xAFF, "gujarati"),
    (0xB00, 0xB7F, "oriya"),
    (0xB80, 0xBFF, "tamil"),
    (0xC00, 0xC7F, "telugu"),
    (0xC80, 0xCFF, "kannada"),
    (0xD00, 0xD7F, "malayalam"),
    (0xD80, 0xDFF, "sinhala"),
    (0xE00, 0xE7F, "thai"),
    (0xE80, 0xEFF, "lao"),
    (0xF00, 0xFFF, "tibetan"),
    (0x1000, 0x109F, "burmese"),
    (0x10A0, 0x10FF, "georgian"),
    (0x1100, 0x11FF, "hangul"),
    (0x1200, 0x139F, "ethiopic"),
    (0x1780, 0x17FF, "khmer"),
    (0x1E00, 0x1EFF, "latin"),
    (0x1F00, 0x1FFF, "greek"),
    (0x3041, 0x30FF, "kana"),
    (0x3130, 0x318F, "hangul"),
    (0x31F0, 0x31FF, "kana"),
    (0x3400, 0x4DBF, "han"),
    (0x4E00, 0x9FFF, "han"),
    (0xAC00, 0xD7AF, "hangul"),
    (0xF900, 0xFAFF, "han"),
    (0xFB1D, 0xFB4F, "hebrew"),
    (0xFB50, 0xFDFF, "arabic"),
    (0xFE70, 0xFEFC, "arabic"),
    (0xFF66, 0xFF9F, "kana"),
    (0x20000, 0x3FFFF, "han"),
)
_FIRST = [first for first, _, _ in _BLOCKS]

#: The languages of a script. Latin is not here: it is for all others. Han without kana is Chinese.
LANGUAGES = {
    "kana": ("ja",),
    "han": ("zh",),
    "hangul": ("ko",),
    "greek": ("el",),
    "thai": ("th",),
    "lao": ("lo",),
    "khmer": ("km",),
    "burmese": ("my",),
    "tibetan": ("bo",),
    "armenian": ("hy",),
    "georgian": ("ka", "xmf"),
    "hebrew": ("he", "yi"),
    "ethiopic": ("am",),
    "thaana": ("dv",),
    "bengali": ("bn", "as", "bpy"),
    "gurmukhi": ("pa",),
    "gujarati": ("gu",),
    "oriya": ("or",),
    "tamil": ("ta",),
    "telugu": ("te",),
    "kannada": ("kn",),
    "malayalam": ("ml",),
    "sinhala": ("si",),
    "devanagari": ("hi", "mr", "ne", "sa", "new", "gom", "mai", "bh", "dty"),
    "arabic": ("ar", "fa", "ur", "arz", "azb", "ckb", "lrc", "mzn", "pnb", "ps", "sd", "ug", "ku", "kk", "ky", "ms"),
    "cyrillic": (
        "ru",
        "uk",
        "be",
        "bg",
        "sr",
        "mk",
        "kk",
        "ky",
        "mn",
        "tg",
        "tt",
        "ba",
        "cv",
        "os",
        "ce",
        "av",
        "kv",
        "mhr",
        "mrj",
        "myv",
        "sah",
        "krc",
        "lez",
        "bxr",
        "xal",
        "rue",
        "tyv",
        "sh",
        "az",
        "uz",
        "tk",
    ),
}
#: Languages that are written in Latin too, although a script above lists them.
_BOTH = {"sr", "sh", "az", "uz", "tk", "ku", "kk", "ms", "tt", "mn"}
#: Languages that are never written in Latin letters.
NEVER_LATIN = frozenset(code for codes in LANGUAGES.values() for code in codes) - _BOTH


#: Latin letters that another script's letter outweighs, and those of words with a capital or a digit: names of products and people.
BESIDE, NAMES = 3, 8
_NAME = re.compile(r"(?=[A-Za-z\u00c0-\u024f]*[A-Z\u00c0-\u00de\d])[A-Za-z\u00c0-\u024f\d]+")
#: Characters of Chinese that Big5 or GB 2312 lack although texts in Traditional characters have them.
_VARIANTS = frozenset("裏衞綫羣邨啓僞爲説鎭麪眞衆峯鷄鉢菓疎産査讃痩敍慙冨着温猫横黄虚没脱脚却厨叙凉况决")


def _script(character: str) -> str | None:
    at = bisect.bisect_right(_FIRST, ord(character)) - 1
    return _BLOCKS[at][2] if at >= 0 and ord(character) <= _BLOCKS[at][1] else None


def script(text: str) -> str | None:
    """The script that a text is written in, None if it has no letters: that of most letters, or one beside Latin that has a
    third as many, of names (`iPhone 15 Pro Max`) an eighth. Latin names stand in texts of every language, other letters seldom in texts
    of a Latin one.

    Japanese mixes kana with Han: both together are "kana".
    """
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else None
    counted = Counter()
    for character, n in Counter(text).items():
        counted[_script(character)] += n
    del counted[None]
    if counted["kana"] and counted["han"]:
        counted["kana"] += counted.pop("han")
    named = sum(sum(map(str.isalpha, word)) for word in _NAME.findall(text))
    weights = {**counted, "latin": (counted["latin"] - named) / BESIDE + named / NAMES}
    return max(weights, key=lambda s: (weights[s], s)) if any(weights.values()) else None


def han_language(text: str) -> str | None:
    """The language of a text in Han characters by the characters alone: "ja" for some that only Japanese writes (`駅`, `広`), or for a mix
    of simplified and traditional ones (`東京都新宿区`); "zh" for one that Japanese does not write (`们`); None if none decides.

    What a language writes is what its standards hold: JIS X 0208, GB 2312, Big5.
    """
    kinds = {_standards(c) for c in text if _script(c) == "han" and c not in _VARIANTS}
    if any(not japanese for japanese, _, _ in kinds):
        return "zh"
    only, simple, traditional = (True, False, False), (True, True, False), (True, False, True)
    return "ja" if only in kinds or {simple, traditional} <= kinds else None


@cache
def _standards(character: str) -> tuple[bool, bool, bool]:
    return _in(character, "shift_jis"), _in(character, "gb2312"), _in(character, "big5")


def _in(character: str, coding: str) -> bool:
    try:
        character.encode(coding)
    except UnicodeEncodeError:
        return False
    return True


def possible(found: str | None, language: str) -> bool:
    """Can a text in this script be of this language?"""
    return language in LANGUAGES[found] if found in LANGUAGES else language not in NEVER_LATIN
