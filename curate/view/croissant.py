"""`croissant.json`: a run's data set in MLCommons' Croissant 1.0, so that catalogues and loaders find and check its files."""

import json
import re
import time
from typing import Any

from curate.shard.members import LEFT_OUT
from curate.view.run import Run
from curate.view.samples import columns

#: The context of the specification, http://mlcommons.org/croissant/1.0
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
    "equivalentProperty": "cr:equivalentProperty",
    "samplingRate": "cr:samplingRate",
}

#: DuckDB's types as schema.org's.
TYPES = {
    "VARCHAR": "sc:Text",
    "BOOLEAN": "sc:Boolean",
    "FLOAT": "sc:Float",
    "DOUBLE": "sc:Float",
    "BIGINT": "sc:Integer",
    "INTEGER": "sc:Integer",
    "SMALLINT": "sc:Integer",
    "TINYINT": "sc:Integer",
    "UBIGINT": "sc:Integer",
}

#: Shards beyond this number are not listed one by one; `dataset.json` has them all.
LISTED = 5_000


def croissant(run: Run, description: str, licences: list[str]) -> str:
    """The metadata as JSON. Paths are relative to the run's folder; hashes are those of `dataset.json`."""
    shards = run.dataset["shards"][:LISTED]
    name = run.recipe.get("name") or "run"
    made = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", name),
        "description": description,
        "version": "1.0.0",
        "datePublished": time.strftime("%Y-%m-%d", time.gmtime(run.recipe.get("began", 0))),
        "license": licences or ["as each sample's source"],
        "url": run.store.url if "://" in run.store.url else f"file://{run.store.url}",
        "citeAs": f"{name}, root hash {run.dataset['root_hash']}",
        "distribution": [_file(s["name"], kind, s[kind]) for s in shards for kind in ("tar", "parquet")],
        "recordSet": [_records(run, s["name"]) for s in shards[:1]] if shards else [],
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _file(name: str, kind: str, entry: dict[str, Any]) -> dict[str, Any]:
    encoding = {"tar": "application/x-tar", "parquet": "application/x-parquet"}[kind]
    return {
        "@type": "cr:FileObject",
        "@id": f"{name}.{kind}",
        "name": f"{name}.{kind}",
        "contentUrl": f"shards/{name}.{kind}",
        "encodingFormat": encoding,
        "contentSize": f"{entry['bytes']} B",
        "sha256": entry["sha256"],
    }


def _records(run: Run, shard: str) -> dict[str, Any]:
    """The columns of the samples, as the first shard's sidecar has them; all sidecars have the same."""
    stored = run.store.fields(f"shards/{shard}.parquet").names  # the view computes more
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"samples/{c}",
            "name": f"samples/{c}",
            "dataType": TYPES[t],
            "source": {"fileObject": {"@id": f"{shard}.parquet"}, "extract": {"column": c}},
        }
        for c, t in columns(run, "shards").items()
        if t in TYPES and c in stored and c not in LEFT_OUT
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "key": {"@id": "samples/key"},
        "field": fields,
        "description": f"One sample a row; these are the rows of {shard}, and every other sidecar has the same columns.",
    }
