"""Small JSON files with a checksum of themselves."""

import hashlib
import json
from typing import Any


def record(value: dict[str, Any]) -> bytes:
    """A JSON object as a file that has its own checksum."""
    text = json.dumps({k: v for k, v in value.items() if k != "checksum"})
    return json.dumps(json.loads(text) | {"checksum": hashlib.sha256(text.encode()).hexdigest()}).encode()


def verified(value: dict[str, Any]) -> dict[str, Any]:
    """The object without its checksum; ValueError if that is wrong."""
    plain = {k: v for k, v in value.items() if k != "checksum"}
    if value.get("checksum") != hashlib.sha256(json.dumps(plain).encode()).hexdigest():
        raise ValueError("its checksum is wrong")
    return plain
