"""Scene-graph tuples of captions, by rule: objects, their attributes, their relations; what ERNIE-ViL (2006.16934) masks in
training."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curate.stage import Stage
from curate.synth.phrases import Phrase, parse

GRAPH = pa.struct(
    [
        ("objects", pa.list_(pa.struct([("name", pa.large_string()), ("start", pa.int32()), ("end", pa.int32())]))),
        ("attributes", pa.list_(pa.struct([("object", pa.int32()), ("attribute", pa.large_string())]))),
        ("relations", pa.list_(pa.struct([("subject", pa.int32()), ("relation", pa.large_string()), ("object", pa.int32())]))),
    ]
)


@dataclass
class SceneGraph(Stage):
    """Adds `<of>_graph`: a struct of lists. `objects` have a name and the place of their phrase in the text (code points, end
    exclusive); `attributes` and `relations` name objects by their place in that list. ERNIE-ViL used a trained parser; these
    are rules for plain captions.
    """

    of: str = "text"

    def __post_init__(self):
        self.name = self.name or f"{self.of}_graph"
        super().__post_init__()
        self.reads = (self.of,)

    def adds(self) -> dict[str, pa.DataType]:
        return {self.name: GRAPH}

    def run(self, live: pa.Table) -> pa.Table:
        return pa.table({self.name: pa.array([None if t is None else graph(t) for t in live[self.of].to_pylist()], GRAPH)})


def graph(text: str) -> dict[str, list[dict[str, Any]]]:
    """The tuples of one caption. "and" and "or" join things and relate nothing."""
    parsed = parse(text)
    return {
        "objects": [{"name": _name(p), "start": p.start, "end": p.end} for p in parsed.phrases],
        "attributes": [{"object": i, "attribute": a} for i, p in enumerate(parsed.phrases) for a in p.attributes],
        "relations": [
            {"subject": i, "relation": joint, "object": i + 1}
            for i, joint in enumerate(parsed.joints)
            if joint and joint not in ("and", "or")
        ],
    }


def _name(phrase: Phrase) -> str:
    return phrase.noun.lower()
