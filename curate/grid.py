"""Samples as people look at them: a picture grid in one HTML file, everything escaped, thumbnails made anew."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import PoolError, RecipeError
from curate.fetch.image import Broken
from curate.fetch.pixels import Resize
from curate.selector import coin_sql
from curate.store import Store, read_slices

#: Columns that say where a sample came from rather than what it is like; the cards leave them out of the scores.
_QUIET = {"uid", "url", "text", "source_file", "source_row", "payload", "payload_offset", "payload_size", "final_url", "fetched_at",
          "sha256", "fetch", "http_status", "drop_reason", "drop_stage", "kept", "key", "decode", "mime", "original_width",
          "original_height", "width", "height"}

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --drop: #c0392b; --keep: #1e8449 }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; padding: 1.2rem }
h1 { font-size: 1.3rem; margin: 0 0 .2rem } p.sub { opacity: .7; margin: 0 0 1.2rem }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 14px }
.card { border: 1px solid var(--line); border-radius: 10px; overflow: hidden; display: flex; flex-direction: column }
.card .pic { background: var(--soft); aspect-ratio: 4/3; display: flex; align-items: center; justify-content: center }
.card img { max-width: 100%; max-height: 100%; object-fit: contain }
.card .none { opacity: .55; font-size: .85rem; padding: 1rem; text-align: center }
.card .body { padding: .6rem .7rem; font-size: .85rem; overflow-wrap: anywhere }
.card .text { font-size: .95rem; margin-bottom: .4rem } .card .url { opacity: .6; font-size: .75rem }
.card table { border-collapse: collapse; margin-top: .4rem; width: 100% } .card td { padding: 0 .3rem 0 0; vertical-align: top }
.card td + td { text-align: right; font-variant-numeric: tabular-nums } .why { color: var(--drop); font-weight: 600 } .kept { color: var(--keep); font-weight: 600 }
"""


@dataclass
class Card:
    """One sample as it is shown: a thumbnail (None: no bytes), and its row of the ledger."""

    row: dict[str, Any]
    thumbnail: bytes | None


def samples(run: Any, reason: str | None, n: int, where: str | None) -> list[Card]:
    """`n` rows drawn by a hash of their uid: kept ones, or those dropped for a reason."""
    chosen = "kept" if reason is None else "drop_reason = '" + reason.replace("'", "''") + "'"
    query = f"select * from images where {chosen}" + (f" and ({where})" if where else "") + f" order by {coin_sql('uid', 0, 'show')}, uid limit {int(n)}"
    rows = run.sql(query).to_arrow_table().to_pylist()
    if not rows and reason is not None:
        there = [r["reason"] for r in run.stats().to_pylist() if r["table"] == "images"]
        if reason not in there:
            raise RecipeError(f"nothing was dropped for {reason}; there are: {', '.join(there)}")
    return cards(run.store, rows)


def cards(store: Store, rows: list[dict[str, Any]]) -> list[Card]:
    """Rows of the ledger with their thumbnails, where there are bytes."""
    found = read_slices(store, *([r.get(c) for r in rows] for c in ("payload", "payload_offset", "payload_size")))
    return [Card(row, small(data) if data else None) for row, data in zip(rows, found)]


def small(data: bytes, side: int = 320) -> bytes | None:
    """A JPEG thumbnail, decoded and encoded anew so that nothing of the original file remains; None if it cannot be decoded."""
    try:
        return Resize("keep_ratio_largest", side, only_if_bigger=True, quality=80)(data)[0]
    except Broken:
        return None


def page(title: str, subtitle: str, shown: list[Card]) -> str:
    """The HTML of a grid."""
    body = "\n".join(_card(c) for c in shown) or "<p>no such rows</p>"
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1><p class=sub>{html.escape(subtitle)}</p>"
            f'<div class="grid">{body}</div></html>\n')


def _card(card: Card) -> str:
    row = card.row
    if card.thumbnail:
        picture = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(card.thumbnail).decode()}">'
    else:
        picture = f'<div class="none">no picture<br>{html.escape(str(row.get("fetch") or "not fetched"))}</div>'
    why = row.get("drop_reason")
    verdict = f'<div class="why">{html.escape(why)}</div>' if why else f'<div class="kept">kept · shard {row.get("shard")}</div>'
    size = f"{row['original_width']} × {row['original_height']} {row['mime']}" if row.get("original_width") else ""
    scores = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(_value(v))}</td></tr>" for k, v in row.items() if _scored(k, v))
    return (f'<div class="card"><div class="pic">{picture}</div><div class="body"><div class="text" dir="auto">{html.escape(row.get("text") or "no text")}</div>'
            f'{verdict}<div class="url">{html.escape(row.get("url") or "")}</div><div class="url">{html.escape(size)}</div><table>{scores}</table></div></div>')


def _scored(name: str, value: Any) -> bool:
    return name not in _QUIET and value is not None and not isinstance(value, (list, dict, bytes))


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_page(run: Any, reason: str | None, n: int, where: str | None, out: str | None) -> str:
    """Write a grid as an HTML file; returns its path."""
    shown = samples(run, reason, n, where)
    title = f"dropped for {reason}" if reason else "kept"
    subtitle = f"{len(shown)} samples of {run.store.url}, drawn by a hash of their uid" + (f", where {where}" if where else "")
    name = "show.html" if reason is None else f"show-{''.join(c if c.isalnum() else '-' for c in reason)}.html"
    data = page(title, subtitle, shown).encode()
    if out:
        try:
            Path(out).write_bytes(data)
        except OSError as e:
            raise PoolError(f"{out}: cannot write: {e.strerror}") from e
        return out
    run.store.publish_bytes(name, data)
    return run.store.path(name)
