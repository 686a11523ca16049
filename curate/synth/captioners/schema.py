"""Answers that are data: JSON by a schema, validated, and the Arrow type of what it describes."""

import json
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from curate.errors import RecipeError
from curate.synth.captioners.base import Answer

_SCALARS = {"string": pa.large_string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}


def checked(schema: dict[str, Any]) -> None:
    """RecipeError if this is no JSON schema (draft 2020-12)."""
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as e:
        raise RecipeError(f"decoding: the schema is none: {e.message}") from e


@lru_cache(maxsize=16)
def _validator(schema: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(schema))


def validated(answer: Answer, schema: dict[str, Any]) -> Answer:
    """The answer with its text as JSON of one form (keys in their order, no blanks), if it follows the schema; else without a text,
    finish `invalid`. Models that no grammar holds like to put a fence, or words, around it: these are taken off."""
    if answer.text is None:
        return answer
    try:
        found = json.loads(_inner(answer.text))
    except ValueError:
        return replace(answer, text=None, finish="length" if answer.finish == "length" else "invalid")
    if not _validator(json.dumps(schema)).is_valid(found):
        return replace(answer, text=None, finish="invalid")
    return replace(answer, text=json.dumps(found, ensure_ascii=False, separators=(",", ":")), finish="stop")


def _inner(text: str) -> str:
    """What stands from the first brace or bracket to the last; the whole text where there is none."""
    starts, ends = [i for i in map(text.find, "{[") if i >= 0], max(text.rfind("}"), text.rfind("]"))
    return text[min(starts) : ends + 1] if starts and ends > min(starts) else text


def arrow_type(schema: dict[str, Any]) -> pa.DataType:
    """The type of what a schema describes: objects with `properties` are structs, arrays with `items` lists; what can be of several
    types is kept as JSON text."""
    kind = schema.get("type")
    if kind == "object" and schema.get("properties"):
        return pa.struct([(name, arrow_type(each)) for name, each in schema["properties"].items()])
    if kind == "array" and isinstance(schema.get("items"), dict):
        return pa.list_(arrow_type(schema["items"]))
    return _SCALARS.get(kind, pa.large_string()) if isinstance(kind, str) else pa.large_string()


def value(found: Any, kind: pa.DataType) -> Any:
    """A parsed answer as a value of its type; what does not fit is null."""
    if found is None:
        return None
    if pa.types.is_struct(kind):
        return {f.name: value(found.get(f.name), f.type) for f in kind} if isinstance(found, dict) else None
    if pa.types.is_list(kind):
        return [value(v, kind.value_type) for v in found] if isinstance(found, list) else None
    if pa.types.is_large_string(kind):
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    if pa.types.is_integer(kind):
        return int(found) if isinstance(found, (int, float)) and abs(found) < 2**63 else None
    return found
