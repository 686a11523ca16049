"""Length of a clip."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter


@dataclass
class DocumentSeconds(Filter):
    """Seconds of a video's clip. HowTo100M's segments take 4 on average (1906.03327); Panda-70M's released
    code drops those under 2.5 and cuts longer ones off at 60 (2402.19479)."""

    table = "documents"
    reads = ("start", "end")
    unit = "seconds"

    def score(self, live: pa.Table) -> pa.Array:
        return pc.subtract(live["end"], live["start"]).cast(pa.float32())
