"""Parsing of chat completions: answers, refusals, moderation and errors in all the shapes that servers send."""

import json
import math
import re
from typing import Any

from curate.synth.captioners.base import Answer

#: Why a model ended, in the words of several servers and in lower case.
_CUT = {"length", "max_tokens", "max_output_tokens", "model_length"}
_MODERATED = {
    "content_filter",
    "content_filtered",
    "safety",
    "image_safety",
    "recitation",
    "prohibited_content",
    "blocklist",
    "spii",
    "guardrail_intervened",
}
#: Half a pair of surrogates, and what no text file holds.
_BROKEN = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f]")
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(</think(?:ing)?>|$)", re.S)
_TOKENS = re.compile(r"<\|[^|<>]{1,40}\|>|</s>$|<s>")
#: Words of a rejection that concerns what is in the request.
_MODERATION = re.compile(
    rb"moderat|flagged|safety|content.?(policy|filter|management)|responsible.?ai|policy.?violation|prohibited|nsfw", re.I
)


def moderated(body: bytes) -> bool:
    """Whether a rejection concerns the content of the request rather than the caller."""
    return _MODERATION.search(body) is not None


def parsed(body: bytes) -> dict[str, Any]:
    """A body as JSON, with bad bytes replaced; a stream of events becomes one answer. ValueError if it is neither."""
    text = body.decode("utf-8-sig", "replace").strip()
    events = not text.startswith("{") and re.search("^data:", text, re.M)
    found = streamed(text) if events else json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def streamed(text: str) -> dict[str, Any]:
    """Server-sent events, as some servers send without being asked, as one answer."""
    events = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    choices = [_first(json.loads(e)) for e in events if e and e != "[DONE]"]
    finish = next((c["finish_reason"] for c in reversed(choices) if c.get("finish_reason")), None)
    parts = [_text(_map(c.get("delta")).get("content")) or "" for c in choices]
    return {"choices": [{"message": {"content": "".join(parts)}, "finish_reason": finish}]}


def embedded_error(found: dict[str, Any]) -> tuple[int, str] | None:
    """The status and message of an error sent as an answer (OpenRouter, LiteLLM), for the whole or for its only choice."""
    error = found.get("error") or _first(found).get("error")
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    return count(code) or 400, json.dumps(error)[:200]


def answer(found: dict[str, Any], price_in: float, price_out: float) -> Answer:
    """What a row gets: the text, or none and why: `refused` (by the model), `moderated` (by a filter), `length` (it was at its limit
    before it began), `empty`."""
    choice, usage = _first(found), _map(found.get("usage"))
    message = _map(choice.get("message"))
    why = choice.get("finish_reason")
    finish = why.lower() if isinstance(why, str) else ""
    text = clean(_text(message.get("content") if message else choice.get("text")) or "")
    blocked = _map(found.get("promptFeedback")).get("blockReason") or _map(found.get("prompt_feedback")).get("block_reason")
    tokens_in, tokens = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    cost = ((tokens_in or 0) * price_in + (tokens or 0) * price_out) / 1e6
    if blocked or finish in _MODERATED:
        return Answer(None, "moderated", tokens, tokens_in, cost)
    if message.get("refusal") or finish == "refusal":
        return Answer(None, "refused", tokens, tokens_in, cost)
    end = "length" if finish in _CUT else "stop" if text else "empty"
    return Answer(text or None, end, tokens, tokens_in, cost)


def clean(text: str) -> str:
    """A text as it may go into a file: without the model's thoughts and its special tokens, U+FFFD for what is no character."""
    if "<|message|>" in text:  # of channels the last is what is meant for the reader
        text = text.rpartition("<|message|>")[2]
    return _BROKEN.sub("\ufffd", _TOKENS.sub("", _THOUGHT.sub("", text))).strip()


def count(value: Any) -> int | None:
    """A number of tokens, however it was written; None for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and 0 <= number < 2**31 and not isinstance(value, bool) else None


def _first(found: dict[str, Any]) -> dict[str, Any]:
    choices = _map(found).get("choices")
    return _map(choices[0]) if isinstance(choices, list) and choices else {}


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(content: Any) -> str | None:
    """The words of a message: a text, or the texts among its parts."""
    if isinstance(content, list):
        parts = (
            p if isinstance(p, str) else _map(p).get("text") if _map(p).get("type") in ("text", "output_text", None) else None
            for p in content
        )
        return " ".join(p.strip() for p in parts if isinstance(p, str) and p.strip())
    return content if isinstance(content, str) else None
