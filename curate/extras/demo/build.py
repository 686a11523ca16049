"""Generator of the demo's web from real pairs: files on several hosts, injected faults, a shuffled list, and the ground truth."""

import hashlib
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from curate.extras.demo import faults
from curate.extras.demo.pairs import Pair

HOSTS = tuple(f"127.0.0.{n}" for n in range(2, 10))
#: Version of the generated web: to be raised when the same pairs would give another web; older webs are built again.
LAYOUT = 3
#: Clean pairs in the list, at most.
CLEAN = {"T": 150, "S": 2000, "M": 8800}

#: Rows of each kind, as a share of the clean ones; at least two. Each takes a pair of its own.
SHARES = {
    "wrong_caption": 0.15,
    "other_language": 0.12,
    "boilerplate": 0.11,
    "null_caption": 0.005,
    "empty_caption": 0.005,
    "http_404": 0.03,
    "http_410": 0.01,
    "http_403": 0.005,
    "http_401": 0.002,
    "http_418": 0.002,
    "http_429": 0.002,
    "http_503": 0.005,
    "500_then_200": 0.01,
    "429_then_200": 0.002,
    "slow": 0.01,
    "chunked": 0.01,
    "stalled": 0.002,
    "short_body": 0.01,
    "giant": 0.002,
    "endless": 0.001,
    "reset": 0.005,
    "garbage": 0.002,
    "redirect": 0.02,
    "redirect_loop": 0.005,
    "redirect_far": 0.003,
    "cut_file": 0.01,
    "html_as_jpg": 0.015,
    "zero_bytes": 0.01,
    "tiny": 0.015,
    "banner": 0.015,
}
#: Rows made from a clean one again, as a share of the clean ones; near duplicates of each edit.
DUPLICATES, NEAR, REPEATED = 0.125, 0.035, 0.01
BAD_TEXT = ["caption_words", "caption_chars", "caption_repetition", "boilerplate_text", "language", "clip_score"]

LIST = pa.schema([(name, pa.large_string()) for name in ("url", "text", "licence", "source")])
TRUTH = pa.schema(
    [
        ("row", pa.int64()),  # position in the list
        ("url", pa.large_string()),
        ("text", pa.large_string()),
        ("fault", pa.large_string()),  # "clean", or the injected fault
        (
            "expected",
            pa.list_(pa.large_string()),
        ),  # the correct drop reasons, the first one preferred; empty: it should be kept
        ("matched", pa.bool_()),  # whether picture and English text belong together; null: not evaluated
        ("same_row", pa.int64()),  # rows with the same number have the same url and text: one should be kept
        ("same_bytes", pa.int64()),  # ... have the same bytes
        ("same_picture", pa.int64()),  # ... show the same picture, edited
        ("pair_id", pa.large_string()),  # the pair whose picture it is
        ("params", pa.large_string()),  # JSON: how it was made
        ("caption", pa.large_string()),  # the picture's true caption
        ("language", pa.large_string()),  # of `text`; null where it has none
        ("source", pa.large_string()),
        ("held_out", pa.bool_()),  # the small CLIP did not see this caption
    ]
)


@dataclass
class Row:
    """A row of the list with its ground truth, before the list is shuffled."""

    pair: Pair
    url: str | None
    text: str | None
    fault: str = "clean"
    expected: list[str] = field(default_factory=list)
    params: dict = field(default_factory=dict)
    language: str | None = "en"
    matched: bool | None = None
    arrives: bytes | None = None  # the picture that a fetch returns; None if it fails
    picture: int | None = None  # for a near duplicate: the index of its original


class Layout:
    """The web under construction: writes files and collects rows and faults. All random choices come from one seeded generator."""

    def __init__(self, folder: Path, port: int, seed: int):
        self.site, self.port, self.chance = folder / "site", port, random.Random(f"web:{seed}")
        self.rows: list[Row] = []
        self.faults: dict[str, dict] = {}
        self.paths: set[str] = set()

    def address(self, pair: Pair, suffix: str = "") -> str:
        """A new host/path, named as a web site would name the file; some hosts have more files than others."""
        slug = re.sub(r"[^a-z0-9]+", "-", pair.title.lower()).strip("-")[:40] or "img"
        while True:
            host = HOSTS[min(int(self.chance.expovariate(0.4)), len(HOSTS) - 1)]
            place = self.chance.choice(("img", "media/2019", "wp-content/uploads/2021/07", "static/pictures", "p"))
            address = f"{host}/{place}/{slug}-{self.chance.randrange(16**6):06x}{suffix or pair.suffix}"
            if address not in self.paths:
                self.paths.add(address)
                return address

    def url(self, address: str) -> str:
        host, path = address.split("/", 1)
        return f"http://{host}:{self.port}/{path}"

    def put(self, pair: Pair, data: bytes, suffix: str = "", fault: dict | None = None) -> str:
        """Write a file, with a server fault if any; returns its URL."""
        address = self.address(pair, suffix)
        file = self.site / address
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        if fault:
            self.faults[address] = fault
        return self.url(address)

    def redirect(self, pair: Pair, to: str) -> str:
        """Add a redirect to a URL; returns its own URL."""
        address = self.address(pair)
        self.faults[address] = {"do": "redirect", "code": self.chance.choice((301, 302, 303, 307, 308)), "to": to}
        return self.url(address)


def write_web(folder: Path, pairs: list[Pair], clean: int, seed: int, port: int) -> tuple[pa.Table, pa.Table, dict[str, dict]]:
    """Write the site's files. Returns the list, its truth and the servers' faults."""
    out = Layout(folder, port, seed)
    groups_of_pairs, originals = _assign_pairs(pairs, clean, out.chance)
    for pair in originals:
        out.rows.append(Row(pair, out.put(pair, pair.image), pair.text, matched=True, arrives=pair.image))
    _add_bad_texts(out, groups_of_pairs)
    _add_server_faults(out, groups_of_pairs)
    _add_redirects(out, groups_of_pairs)
    _add_bad_files(out, groups_of_pairs)
    _add_bad_addresses(out, originals)
    _add_duplicates(out, originals)
    order = out.chance.sample(range(len(out.rows)), len(out.rows))
    groups = _groups(out.rows)
    truth = [_truth(out.rows[i], at, i, groups) for at, i in enumerate(order)]
    shuffled = [out.rows[i] for i in order]
    listed = [{"url": r.url, "text": r.text, "licence": r.pair.licence, "source": r.pair.source} for r in shuffled]
    return pa.Table.from_pylist(listed, LIST), pa.Table.from_pylist(truth, TRUTH), out.faults


def _assign_pairs(pairs: list[Pair], clean: int, chance: random.Random) -> tuple[dict[str, list[Pair]], list[Pair]]:
    """Distinct pairs for each kind of fault, and the clean ones. If there are few pairs all numbers are reduced in proportion."""
    clean = min(clean, int(len(pairs) / (1.05 + sum(SHARES.values()))))
    spare = chance.sample(pairs, len(pairs))
    count = {kind: max(2, round(clean * share)) for kind, share in SHARES.items()}
    foreign = [p for p in spare if p.captions][: count["other_language"]]
    taken = {p.id for p in foreign}
    rest = iter([p for p in spare if p.id not in taken])
    given = {kind: foreign if kind == "other_language" else [p for _, p in zip(range(n), rest)] for kind, n in count.items()}
    return given, [p for _, p in zip(range(clean), rest)]


def _add_bad_texts(out: Layout, given: dict[str, list[Pair]]) -> None:
    """Add valid pictures with wrong, foreign, useless or missing captions."""
    by_source = defaultdict(list)
    for pair in given["wrong_caption"]:
        by_source[pair.source].append(pair)
    for group in by_source.values():
        for pair, other in zip(group, group[1:] + group[:1]):
            if pair.title.lower() != other.title.lower():
                out.rows.append(
                    Row(
                        pair,
                        out.put(pair, pair.image),
                        other.text,
                        "wrong_caption",
                        ["clip_score"],
                        {"from": other.id},
                        matched=False,
                        arrives=pair.image,
                    )
                )
    for pair in given["other_language"]:
        language = out.chance.choice(sorted(pair.captions))
        out.rows.append(
            Row(
                pair,
                out.put(pair, pair.image),
                pair.captions[language],
                "other_language",
                ["language", "clip_score"],
                language=language,
                arrives=pair.image,
            )
        )
    texts = {
        "boilerplate": lambda: out.chance.choice(faults.BOILERPLATE),
        "null_caption": lambda: None,
        "empty_caption": lambda: out.chance.choice(("", " ", "\n\t")),
    }
    for kind, text in texts.items():
        for pair in given[kind]:
            out.rows.append(Row(pair, out.put(pair, pair.image), text(), kind, BAD_TEXT, language=None, arrives=pair.image))


def _add_server_faults(out: Layout, given: dict[str, list[Pair]]) -> None:
    """Add valid pictures on faulty servers; some of them serve the picture in the end."""
    for kind, (misdeed, expected) in faults.SERVER.items():
        for pair in given[kind]:
            out.rows.append(
                Row(
                    pair,
                    out.put(pair, pair.image, fault=misdeed),
                    pair.text,
                    kind,
                    expected,
                    matched=None if expected else True,
                    arrives=None if expected else pair.image,
                )
            )


def _add_redirects(out: Layout, given: dict[str, list[Pair]]) -> None:
    """Add chains of one to three redirects to a picture, loops, and chains of thirty."""
    for pair in given["redirect"]:
        url, hops = out.put(pair, pair.image), out.chance.randint(1, 3)
        for _ in range(hops):
            url = out.redirect(pair, url)
        out.rows.append(Row(pair, url, pair.text, "redirect", params={"hops": hops}, matched=True, arrives=pair.image))
    for pair in given["redirect_loop"]:
        address = out.address(pair)
        url = out.redirect(pair, out.url(address))
        out.faults[address] = {"do": "redirect", "code": 302, "to": url}
        out.rows.append(Row(pair, url, pair.text, "redirect_loop", ["fetch:too_many_redirects"]))
    for pair in given["redirect_far"]:
        url = out.put(pair, pair.image)
        for _ in range(30):
            url = out.redirect(pair, url)
        out.rows.append(Row(pair, url, pair.text, "redirect_far", ["fetch:too_many_redirects"], {"hops": 30}))


def _add_bad_files(out: Layout, given: dict[str, list[Pair]]) -> None:
    """Add files that are truncated, not pictures, empty, tiny or too elongated."""
    for pair in given["cut_file"]:
        url = out.put(pair, pair.image[: len(pair.image) // 2])
        out.rows.append(Row(pair, url, pair.text, "cut_file", ["fetch:truncated", "fetch:broken_image", "decode:broken"]))
    for pair in given["html_as_jpg"]:
        url = out.put(pair, faults.html_page(pair), ".jpg")
        out.rows.append(Row(pair, url, pair.text, "html_as_jpg", ["fetch:not_an_image"]))
    for pair in given["zero_bytes"]:
        out.rows.append(Row(pair, out.put(pair, b""), pair.text, "zero_bytes", ["fetch:empty"]))
    for pair in given["tiny"]:
        side = out.chance.randint(8, 24)
        data = faults.tiny(pair, side)
        out.rows.append(
            Row(
                pair,
                out.put(pair, data, ".png"),
                pair.text,
                "tiny",
                ["image_side", "image_bytes"],
                {"side": side},
                arrives=data,
            )
        )
    for n, pair in enumerate(given["banner"]):
        data = faults.banner(pair, upright=n % 2 == 1)
        out.rows.append(
            Row(pair, out.put(pair, data, ".jpg"), pair.text, "banner", ["aspect_ratio", "image_side"], arrives=data)
        )


def _add_bad_addresses(out: Layout, originals: list[Pair]) -> None:
    """Add invalid URLs, missing hosts, private addresses by link and by redirect, and decompression bombs."""
    pair = iter(originals * 9)

    def row(url: str | None, fault: str, *expected: str) -> None:
        owner = next(pair)
        out.rows.append(Row(owner, url, owner.text, fault, list(expected)))

    for url in (None, *faults.BAD_URLS):
        row(url, "bad_url", "fetch:bad_url")
    for url in faults.PRIVATE:
        row(url, "private_address", "fetch:private_address")
        row(out.redirect(originals[0], url), "redirect_private", "fetch:private_address")
    for url in faults.BAD_LOCATIONS:
        row(out.redirect(originals[0], url), "redirect_scheme", "fetch:bad_redirect")
    for n in range(2):
        row(f"http://no-such-host-{n}.invalid/cat.jpg", "no_such_host", "fetch:dns")
        row(f"http://{HOSTS[n]}:47/closed-{n}.jpg", "closed_port", "fetch:refused")
        row(f"https://{HOSTS[n]}:{out.port}/not-tls-{n}.jpg", "no_tls", "fetch:tls")
    bomb = faults.bomb()
    for _ in range(2):
        row(out.put(originals[0], bomb, ".png"), "bomb", "fetch:too_many_pixels")


def _add_duplicates(out: Layout, originals: list[Pair]) -> None:
    """Add duplicates of clean rows: the same bytes at another URL, the same picture edited, the same row twice."""
    n = len(originals)
    for i in out.chance.sample(range(n), max(2, round(n * DUPLICATES))):
        pair = originals[i]
        out.rows.append(Row(pair, out.put(pair, pair.image), pair.text, "exact_duplicate", matched=True, arrives=pair.image))
    for edit in faults.EDITS:
        for i in out.chance.sample(range(n), max(2, round(n * NEAR))):
            data = faults.edited(originals[i], edit)
            out.rows.append(
                Row(
                    originals[i],
                    out.put(originals[i], data, ".jpg"),
                    originals[i].text,
                    "near_duplicate",
                    params={"edit": edit},
                    matched=True,
                    arrives=data,
                    picture=i,
                )
            )
    for i in out.chance.sample(range(n), max(2, round(n * REPEATED))):
        row = out.rows[i]
        out.rows.append(Row(row.pair, row.url, row.text, "repeated_row", matched=True, arrives=row.arrives))


def _groups(rows: list[Row]) -> dict[str, dict[int, int]]:
    """For each kind of duplicate: index of a row -> number of its group, for groups of two and more."""
    keys = {
        "same_row": [(r.url, r.text) if r.url else None for r in rows],
        "same_bytes": [hashlib.sha256(r.arrives).digest() if r.arrives else None for r in rows],
        "same_picture": [None] * len(rows),
    }
    for i, row in enumerate(rows):
        if row.picture is not None:
            keys["same_picture"][i] = keys["same_picture"][row.picture] = row.picture
    return {name: _group_numbers(of) for name, of in keys.items()}


def _group_numbers(keys: list) -> dict[int, int]:
    """Index -> the first index with the same key, for keys that occur twice or more; None is no key."""
    members = defaultdict(list)
    for i, key in enumerate(keys):
        if key is not None:
            members[key].append(i)
    return {i: group[0] for group in members.values() if len(group) > 1 for i in group}


def _truth(row: Row, at: int, index: int, groups: dict[str, dict[int, int]]) -> dict:
    # A row that should be dropped may be dropped for its short caption first, since text is judged before the fetch.
    short = row.text is None or len(row.text.split()) < 3
    early = ["caption_words"] if row.expected and short and "caption_words" not in row.expected else []
    return {
        "row": at,
        "url": row.url,
        "text": row.text,
        "fault": row.fault,
        "expected": row.expected + early,
        "matched": row.matched,
        **{name: of.get(index) for name, of in groups.items()},
        "pair_id": row.pair.id,
        "params": json.dumps(row.params),
        "caption": row.pair.text,
        "language": row.language,
        "source": row.pair.source,
        "held_out": row.pair.held_out,
    }
