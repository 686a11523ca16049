"""How many of the world's phone numbers are found, and what is wrongly taken for a contact: `pip install phonenumbers; python benchmarks/contacts.py [CAPTIONS.txt]`.

Numbers: an example of each region (its fixed line and its mobile) from Google's libphonenumber, written in its three ways, inside a
caption. Wrongly found: in a million captions without any, made of words, years, sizes, prices, scales and model numbers; and, if a
file with a caption a line is given, what is found in it, to be looked at.
"""

import random
import sys
import time
from pathlib import Path

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc

from curate.filters import contacts

FORMS = {
    "+49 30 123456 (international)": phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    "+4930123456 (E.164)": phonenumbers.PhoneNumberFormat.E164,
    "030 123456 (national)": phonenumbers.PhoneNumberFormat.NATIONAL,
}
KINDS = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)


def numbers(form: int) -> list[str]:
    found = (
        phonenumbers.example_number_for_type(region, kind)
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in KINDS
    )
    return [phonenumbers.format_number(n, form) for n in found if n]


def share(texts: list[str]) -> float:
    return pc.mean(pc.greater(contacts.count(pa.array(texts, pa.large_string())), 0)).as_py()


def harmless(count: int) -> list[str]:
    dice = random.Random(0)
    words = "vintage poster red blue house car lens print set stamp map of the city by sea photo art new old large".split()
    kinds = (
        lambda: f"{dice.randint(1800, 2026)}",
        lambda: f"{dice.randint(1900, 1960)}-{dice.randint(1961, 2026)}",
        lambda: f"{dice.randint(20, 4000)} x {dice.randint(20, 4000)}",
        lambda: f"${dice.randint(1, 9999):,}.{dice.randint(0, 99):02d}",
        lambda: f"1:{dice.randint(10, 99)}",
        lambda: f"{dice.randint(1, 28):02d}/{dice.randint(1, 12):02d}/{dice.randint(1990, 2026)}",
        lambda: f"{dice.randint(1990, 2026)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}",
        lambda: f"ISBN 978-{dice.randint(0, 9)}-{dice.randint(10, 99)}-{dice.randint(100000, 999999)}-{dice.randint(0, 9)}",
        lambda: f"{dice.choice('ABCDKX')}{dice.randint(100, 99999)}",
        lambda: f"{dice.uniform(0, 90):.4f}, {dice.uniform(0, 90):.4f}",
        lambda: f"{dice.randint(1, 999)},{dice.randint(0, 999):03d}",
    )
    return [" ".join([*dice.choices(words, k=4), dice.choice(kinds)(), *dice.choices(words, k=2)]) for _ in range(count)]


def main(captions: str | None = None) -> None:
    for name, form in FORMS.items():
        found = numbers(form)
        print(
            f"{name}: {len(found)} numbers, {share([f'for sale, {n} in town' for n in found]):.3f} found; after `tel.`: {share([f'tel. {n}' for n in found]):.3f}"
        )
    texts = harmless(1_000_000)
    table, started = pa.array(texts, pa.large_string()), time.process_time()
    wrong = pc.sum(pc.greater(contacts.count(table), 0)).as_py()
    print(
        f"harmless captions: {len(texts):,}, wrongly found in {wrong:,}; {len(texts) / (time.process_time() - started):,.0f} captions per CPU-s"
    )
    if captions:
        table = pa.array(Path(captions).read_text(encoding="utf-8").splitlines(), pa.large_string())
        hit = table.filter(pc.greater(contacts.count(table), 0))
        print(f"{captions}: {len(table):,} captions, found in {len(hit):,}: {hit.slice(0, 20).to_pylist()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
