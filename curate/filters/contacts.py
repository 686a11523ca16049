"""E-mail addresses and phone numbers in text: the patterns, how many there are, and text without them.

Patterns run on RE2, in time linear in the text whatever it holds. A phone number is one by its form: a country code, a national
grouping, or a word that says so (`tel.`, `call`, `WhatsApp`) before six digits or more. Dates, sizes, prices, ISBNs and
coordinates are none, nor is a bare row of digits. benchmarks/contacts.py says what is found of the world's numbers.
"""

import pyarrow as pa
import pyarrow.compute as pc

#: `a@b.org`, also spelled `a (at) b [dot] org`.
EMAIL = (
    r"(?i)[\p{L}\p{N}._%+'-]+(?:@|＠|\s?[\[({<]\s?at\s?[\])}>]\s?)"
    r"(?:[\p{L}\p{N}-]+(?:\.|\s?[\[({<]\s?dot\s?[\])}>]\s?))+\p{L}{2,}"
)

_SAYS = (
    r"(?:(?:^|[^\p{L}\p{M}\p{N}])(?:tel|telefono?|telephone|téléphone|tél|phone|ph|mobile?|mob|cell|fax|call(?:\s+us)?(?:\s+at|\s+on)?|text|whats\s?app|handy|hotline|"
    r"telefon|ring|sms|móvil|celular|тел)|电话|電話)"
)
_GAP = r"[ \x{a0}.\-‐‑–/]"
_DIGITS = r"(?:[ \x{a0}.\-‐‑–/()]{0,3}\d)"

#: By turns: after a word that says so (which is group 1), with a country code, with an area code in brackets, ten digits as in the
#: Americas, pairs as in France, groups after a leading 0.
PHONE = (
    "(?i)(?:"
    + "|".join(
        (
            r"(" + _SAYS + r"[.:：]{0,2}\s?(?:(?:no|number|nr)\b\.?:?\s?)?)[+(]{0,2}\d" + _DIGITS + "{5,14}",
            r"(?:\+|\b00)" + _GAP + r"?[1-9]" + _DIGITS + "{6,14}",
            r"\(0\d{1,4}\)" + _DIGITS + "{5,10}",
            r"\([2-9]\d{2}\)" + _GAP + r"?\d{3}" + _GAP + r"\d{4}",
            r"\b(?:1" + _GAP + r")?[2-9]\d{2}" + _GAP + r"[2-9]\d{2}" + _GAP + r"\d{4}",
            r"\b0\d(?:[ \x{a0}.]\d{2}){4}",
            r"\b0\d{1,4}" + _GAP + r"{1,2}\d{3,4}" + _GAP + r"\d{3,4}(?:" + _GAP + r"\d{2,4})?",
            r"\b0\d{2,4}[/ ]\d{5,8}",
        )
    )
    + r")\b"
)


def emails(text: pa.ChunkedArray | pa.Array) -> pa.Array:
    return pc.count_substring_regex(text, EMAIL)


def phones(text: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The number of phone numbers in each text, counted after e-mail addresses are removed, which may contain digits."""
    return pc.count_substring_regex(pc.replace_substring_regex(text, EMAIL, " "), PHONE)


def count(text: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The number of addresses and phone numbers in each text, int32; 0 for null."""
    return pc.fill_null(pc.add(emails(text), phones(text)), 0).cast(pa.int32())


def redacted(text: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Redact a text: `<email>` and `<phone>` in place of addresses and numbers."""
    return pc.replace_substring_regex(pc.replace_substring_regex(text, EMAIL, "<email>"), PHONE, r"\1<phone>")
