"""Stage that runs img2dataset's own downloader on a part, for its exact behaviour; commits and ledger are curate's."""

import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather

from curate import schema
from curate.errors import RecipeError
from curate.fetch.failure import status_outcome
from curate.fetch.image import SUFFIX, inspect
from curate.fetch.machine import MachineLimit, fit_concurrency, machine_limit
from curate.fetch.stage import failed, fetched
from curate.removed import removed
from curate.stage import Stage
from curate.store.payload import Parcel

#: The outcome for each pattern of its error messages; the first match counts.
_MESSAGES = tuple(
    (re.compile(pattern), outcome)
    for pattern, outcome in (
        (r"X-Robots-Tag", "opt_out"),
        (r"hash mismatch", "hash_mismatch"),
        (r"Image decoding error", "not_an_image"),
        (r"Name or service|getaddrinfo|Temporary failure in name|nodename", "dns"),
        (r"timed out", "timeout"),
        (r"refused", "refused"),
        (r"(?i)ssl|certificate", "tls"),
        (r"IncompleteRead", "truncated"),
        (r"infinite loop", "too_many_redirects"),
        (r"HTTP Error 30\d|Redirection to url", "bad_redirect"),
        (
            r"unknown url type|no host given|nonnumeric port|control characters|InvalidURL|label empty|has no attribute",
            "bad_url",
        ),
        (r"unknown protocol|BadStatusLine|invalid literal|line too long|more than \d+ headers", "bad_response"),
    )
)
_STATUS = re.compile(r"HTTP Error (\d{3})")
_ERRNO = re.compile(r"\[Errno (\d+)\]")


@dataclass
class Img2Dataset(Stage):
    """Downloads with img2dataset 1.47 (`pip install curate-multimodal[img2dataset]`): its client, resizer and parameters, by its names.

    It does not limit bytes, check addresses or time out a slow body: for lists you trust. Outcomes are derived from its error
    messages; `final_url` stays null, and so does `http_status` where a download succeeded.
    """

    network = True
    writes_payload = True
    reads = ("url",)
    untracked = ("thread_count", "timeout", "retries", "user_agent_token", "disallowed_header_directives")

    image_size: int = 256
    resize_mode: str = "border"
    resize_only_if_bigger: bool = False
    encode_format: str = "jpg"
    encode_quality: int = 95
    skip_reencode: bool = False
    disable_all_reencoding: bool = False
    thread_count: int = 64
    timeout: int = 10
    retries: int = 0
    user_agent_token: str | None = None
    disallowed_header_directives: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")

    def __post_init__(self):
        self.name = self.name or "fetch"  # replaces Fetch: the same columns and drop reasons
        super().__post_init__()

    @property
    def rewrites(self) -> bool:
        return True

    def adds(self) -> dict[str, pa.DataType]:
        return fetched(self.name)

    def judge(self, columns: pa.Table) -> pa.Array:
        """`fetch:` and the outcome, or null where an image arrived."""
        return failed(columns[self.name])

    def run(self, live: pa.Table, parcel: Parcel) -> pa.Table:
        rows = PayloadWriter(
            live["uid"].to_pylist(), parcel, (removed(parcel.store) if parcel.removed is None else parcel.removed).hashes
        )
        with tempfile.TemporaryDirectory() as folder:
            shard = Path(folder, "0.feather")
            url = pc.fill_null(live["url"].cast(pa.string()), "")
            numbered = pa.table({"url": url, "row": pa.array(range(len(live)), pa.int64())})
            feather.write_feather(numbered, str(shard), compression="uncompressed")
            self._downloader(folder, len(live), rows).download_shard((0, str(shard)))
        if rows.limit:
            raise rows.limit
        return rows.table().rename_columns(list(self.adds()))

    def _downloader(self, folder: str, count: int, rows: "PayloadWriter") -> Any:
        try:
            from img2dataset.downloader import Downloader
            from img2dataset.resizer import Resizer
        except ImportError as e:
            raise RecipeError(
                f"{self.name}: img2dataset cannot be imported ({e}): pip install 'curate-multimodal[img2dataset]'"
            ) from e
        resizer = Resizer(
            self.image_size,
            self.resize_mode,
            self.resize_only_if_bigger,
            encode_quality=self.encode_quality,
            encode_format=self.encode_format,
            skip_reencode=self.skip_reencode,
            disable_all_reencoding=self.disable_all_reencoding,
        )
        return Downloader(
            sample_writer_class=lambda *_: rows,
            resizer=resizer,
            thread_count=fit_concurrency(self.thread_count),
            save_caption=False,
            extract_exif=False,
            output_folder=folder,
            column_list=["url", "row"],
            timeout=self.timeout,
            number_sample_per_shard=max(2, count),
            oom_shard_count=5,
            compute_hash="sha256",
            verify_hash_type=None,
            encode_format=self.encode_format,
            retries=self.retries,
            user_agent_token=self.user_agent_token,
            disallowed_header_directives=list(self.disallowed_header_directives),
        )


class PayloadWriter:
    """The sample writer passed to img2dataset: fills the columns of schema.FETCHED and writes the bytes to the parcel."""

    def __init__(self, uids: list[str], parcel: Parcel, removed: set[str]):
        self.uids, self.parcel, self.removed = uids, parcel, removed
        self.columns: dict[str, list] = {name: [None] * len(uids) for name in schema.FETCHED}
        self.columns["fetch"] = ["connection"] * len(uids)  # of a row that it never reports
        self.limit: MachineLimit | None = None  # the first one met

    def write(self, data: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        row = meta["row"]
        if data is not None and meta["sha256"] in self.removed:
            return self._fill(row, fetch="removed")
        self._fill(row, fetched_at=int(time.time() * 1000), sha256=meta["sha256"])
        if data is None:
            number = _ERRNO.search(meta["error_message"] or "")
            self.limit = self.limit or (number and machine_limit(OSError(int(number[1]), "")))
            outcome, status = parse_error(meta["error_message"] or "")
            return self._fill(row, fetch=outcome, http_status=status)
        outcome, header = inspect(data)
        self._fill(row, fetch=outcome)
        if header is not None:
            self._fill(
                row,
                mime=header.mime,
                width=header.width,
                height=header.height,
                original_width=meta["original_width"] or header.width,
                original_height=meta["original_height"] or header.height,
            )
        if outcome == "ok":
            offset = self.parcel.add(f"{self.uids[row]}.{SUFFIX[header.mime]}", data)
            self._fill(row, payload_offset=offset, payload_size=len(data))
        return None

    def close(self) -> None:
        """Nothing to do (part of the sample writer's interface): the parcel is closed by its owner."""

    def table(self) -> pa.Table:
        return pa.table({name: pa.array(values, schema.FETCHED[name]) for name, values in self.columns.items()})

    def _fill(self, row: int, **values: Any) -> None:
        for name, value in values.items():
            self.columns[name][row] = value


def parse_error(message: str) -> tuple[str, int | None]:
    """Parse an error message of img2dataset into an outcome (schema.FETCH) and an HTTP status."""
    found = _STATUS.search(message)
    status = int(found[1]) if found else None
    for pattern, outcome in _MESSAGES:
        if pattern.search(message):
            return outcome, status
    if status is None:
        return "connection", None
    return status_outcome(status), status
