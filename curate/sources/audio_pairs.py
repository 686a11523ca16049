"""Source: lists of sound files with their texts. A sound is a document: its text is its paragraph, and SoundFile or FetchSound takes its
bytes."""

import importlib.util
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curate import schema
from curate.errors import RecipeError
from curate.schema import STR
from curate.source import expand
from curate.sources.columns import as_text
from curate.sources.formats import ENDINGS, file_format
from curate.sources.texts import Texts
from curate.sources.url_pairs import folders_opened
from curate.sources.videos import is_within, listed_path
from curate.videos.local import is_web

#: Names of the columns with the file and with its text, of which the first that is there is taken.
AUDIO = ("audio", "audio_path", "file_name", "file", "path", "wav", "audio_url", "url")
TEXT = ("text", "caption", "sentence", "transcription")


@dataclass
class AudioPairs(Texts):
    """One row = a sound file with its text, of a list (Parquet, CSV, TSV, JSON lines or an array). The recipe's first step is SoundFile, or for
    URLs FetchSound.

    audio: the column with the file's path, relative to the list, on a disk or object store, or its http(s) URL; text: its caption or transcript. Empty:
    the first of AUDIO and TEXT that is there. All else as in Texts; a row that names no file is `source:bad_row`.
    roots: folders, or URLs of them, in which the files may lie besides the list's own folder; others are `source:refused`: lists are
    untrusted.
    """

    version: ClassVar[int] = 2
    needed: ClassVar[tuple[str, ...]] = ("text", "audio")

    audio: str = ""
    roots: tuple[str, ...] = ()

    def files(self) -> list[str]:
        if importlib.util.find_spec("soundfile") is None:
            raise RecipeError("sound files need the package soundfile: pip install 'curate-multimodal[audio]'")
        found = expand(folders_opened(self.paths, ENDINGS))
        for file in found:
            file_format(file)
        return found

    def columns(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        return {**super().columns(), "text": (self.text, TEXT), "audio": (self.audio, AUDIO)}

    def adds(self, table: str = "images") -> dict[str, pa.DataType]:
        return {**super().adds(table), **({"audio": STR} if table == "documents" else {})}

    def _documents(self, table: pa.Table, bad: list[bool], chosen: dict[str, str], file: str, start: int) -> pa.Table:
        made = super()._documents(table, bad, chosen, file, start)
        folder = file.rsplit("/", 1)[0] if "/" in file else "."
        named = as_text(table[chosen["audio"]].combine_chunks())[0].to_pylist()
        found = [n and listed_path(folder, n) for n in named]
        paths = pa.array(found, STR)
        refused = pa.array([bool(p) and not is_web(p) and not is_within(p, (folder, *self.roots)) for p in found])
        reason = pc.if_else(refused, pa.scalar("source:refused", STR), made["drop_reason"])
        reason = pc.if_else(pc.equal(pc.fill_null(paths, ""), ""), pa.scalar("source:bad_row", STR), reason)
        uid = schema.uids(made["text"], pc.coalesce(made["url"], pa.array(named, STR)))
        url = pc.coalesce(made["url"], pa.array([p if p and is_web(p) else None for p in found], STR))
        columns = {"uid": uid, "url": url, "audio": paths, "drop_reason": reason}
        return pa.table({**{n: made[n] for n in made.column_names}, **columns})
