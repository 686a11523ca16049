"""Keys that rows are grouped by: columns, or simple functions of columns, written `host(url)`."""

import re

from curate.errors import RecipeError

#: What may stand around a column, and its SQL. Without a host, or without a word, a key is null.
FUNCTIONS = {
    "host": "nullif(regexp_extract(lower({}), '^[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(?:www\\.)?([^/?#:]+)', 1), '')",
    "lower": "lower({})",
    "words": "nullif(trim(regexp_replace(lower(nfc_normalize({})), '[^\\pL\\pM\\pN]+', ' ', 'g')), '')",
}
_CALL = re.compile(r"(\w+)\((\w+)\)")


def column(key: str) -> str:
    """The column that a key reads."""
    call = _CALL.fullmatch(key)
    return call[2] if call else key


def sql(key: str) -> str:
    """A key as SQL; RecipeError for a function that does not exist."""
    call = _CALL.fullmatch(key)
    if not call:
        return f'"{key}"'
    if call[1] not in FUNCTIONS:
        raise RecipeError(f"key {key}: there is no function {call[1]}; there are {', '.join(FUNCTIONS)}")
    return FUNCTIONS[call[1]].format(f'"{call[2]}"')


def listed(keys: tuple[str, ...]) -> str:
    """Several keys as an SQL list."""
    return ", ".join(sql(k) for k in keys)


def reads(keys: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """The columns behind keys and further columns, each once."""
    return tuple(dict.fromkeys([*(column(k) for k in keys), *more]))
