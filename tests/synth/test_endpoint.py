"""The endpoint client against a server that answers 429, 500, late, cut short, with wrong JSON, and with a refusal."""

import asyncio
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import RecipeError
from curate.synth.caption import Caption
from curate.synth.captioners import Decoding, PendingRequest, Request, RequestLoop
from curate.synth.captioners.endpoint import Again, Endpoint, Unavailable
from curate.synth.captioners.servers import RequestRate

GOOD = {
    "choices": [{"message": {"content": " a dog "}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 4},
}
REFUSAL = {"choices": [{"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"}], "usage": {}}


class Server(ThreadingHTTPServer):
    """Gives the answers of `script` in turn, the last one for ever; keeps what it was asked."""

    daemon_threads = True

    def __init__(self, *script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.asked, self.headers, self.lock = list(script), [], [], threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_):
        """A client that hangs up is part of the test."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.headers.append(dict(self.headers))
            what = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        self.answer(what)

    def answer(self, what):
        if what == "late":
            time.sleep(0.6)
            what = GOOD
        if what == "drop":
            self.connection.close()
            return
        if isinstance(what, tuple):
            status, headers, data = what
        else:
            status, headers, data = 200, {}, what if isinstance(what, bytes) else json.dumps(what).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Quiet."""


def asked(server, requests=1, **options):
    home = os.environ.get("CURATE_CACHE")
    kept = {"cache": f"{home}/{server.server_port}"} if home else {}
    writer = Endpoint("m", **{"url": server.url, "timeout": 0.3, **kept, **options})
    writer.load()
    return answers(writer, requests)


def answers(writer, requests=1, decoding=None):
    """The answers to so many requests, in the order of these."""
    with RequestLoop(writer, decoding or Decoding()) as asking:
        found = {got.key: got.answer for got in asking.answers(PendingRequest(i, (f"what {i}",), i) for i in range(requests))}
    return [found[i] for i in range(requests)]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch, tmp_path):
    """Pauses are recorded, not slept."""
    pauses, clock = [], [1000.0]

    async def sleep(seconds):
        pauses.append(seconds)
        clock[0] += seconds
        await asyncio.sleep(0)

    monkeypatch.setattr("curate.synth.captioners.endpoint.sleep", sleep)
    monkeypatch.setattr("curate.synth.captioners.servers.sleep", sleep)
    monkeypatch.setattr("curate.synth.captioners.servers.monotonic", lambda: clock[0])
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "kept"))
    return pauses


TRUNCATED = (200, {"Content-Length": "5000"}, json.dumps(GOOD).encode()[:40])


@pytest.mark.parametrize(
    "fault",
    [
        (429, {}, b"slow down"),
        (500, {}, b"oops"),
        (503, {}, b""),
        "drop",
        b"{not json",
        b"<html>login</html>",
        b"[]",
        {"error": {"code": 502, "message": "no provider"}},
        {"choices": [{"error": {"code": 429, "message": "slow"}, "message": {"content": ""}}]},
    ],
)
def test_a_fault_that_passes_is_repeated(fault, no_waiting):
    with Server(fault, fault, GOOD) as server:
        (answer,) = asked(server)
    assert (answer.text, answer.finish, answer.tokens, answer.tokens_in) == ("a dog", "stop", 4, 100)
    assert len(server.asked) == 3
    assert 0.5 <= no_waiting[0] <= 1.5 and 1 <= no_waiting[1] <= 3


def test_redirects_are_not_followed_and_endless_answers_are_cut_off():
    """The key goes to the endpoint and nowhere else."""
    with Server(GOOD) as elsewhere:
        with Server((307, {"Location": f"{elsewhere.url}/chat/completions"}, b"")) as server:
            with pytest.raises(RecipeError, match="status 307"):
                asked(server)
    assert not elsewhere.asked
    with Server((200, {}, b" " * (9 << 20)), GOOD) as server:
        (answer,) = asked(server, timeout=5)
    assert answer.text == "a dog" and len(server.asked) == 2


def test_a_late_and_a_cut_answer_are_repeated():
    with Server("late", GOOD) as server:
        assert asked(server)[0].text == "a dog" and len(server.asked) == 2
    with Server(TRUNCATED, GOOD) as server:
        assert asked(server)[0].text == "a dog" and len(server.asked) == 2


def test_retry_after_is_heeded(no_waiting):
    with Server((429, {"Retry-After": "7"}, b""), GOOD) as server:
        asked(server)
    assert no_waiting == [7.0]


def test_a_server_that_never_recovers_stops_the_part_and_is_not_a_caption():
    with Server((500, {}, b"")) as server, pytest.raises(Unavailable, match="no answer after 3 attempts: status 500"):
        asked(server, attempts=3, patience=0)
    assert len(server.asked) == 3


def test_a_refusal_and_a_filtered_answer_are_rows_without_text():
    filtered = {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}
    with Server(REFUSAL) as server:
        assert [a.finish for a in asked(server)] == ["refused"]
    with Server(filtered) as server:
        (answer,) = asked(server)
    assert (answer.text, answer.finish) == (None, "moderated")


def test_an_answer_that_ends_before_it_begins_is_paid_once():
    thought = {"choices": [{"message": {"content": None}, "finish_reason": "length"}], "usage": {"completion_tokens": 64}}
    with Server(thought) as server:
        (answer,) = asked(server)
    assert (answer.text, answer.finish, answer.tokens, len(server.asked)) == (None, "length", 64, 1)


def test_beams_are_refused():
    with pytest.raises(RecipeError, match="Endpoint"):
        answers(loaded(Endpoint("m")), decoding=Decoding(beams=2))


def test_what_only_some_servers_know_is_asked_where_it_changes_something():
    plain = Endpoint("m").body(Request(("what",)), Decoding(min_tokens=0))
    more = Endpoint("m").body(Request(("what",)), Decoding(top_k=50, min_tokens=5, repetition=1.2))
    assert more == plain | {"top_k": 50, "min_tokens": 5, "repetition_penalty": 1.2}


def test_one_rejected_request_costs_one_row_but_all_of_them_the_run():
    with Server(GOOD, (400, {}, b"bad image"), GOOD) as server:
        finish = [a.finish for a in asked(server, 3, at_once=1)]
    assert finish == ["stop", "rejected", "stop"]
    with (
        Server((400, {}, b"no such parameter")) as server,
        pytest.raises(RecipeError, match=r"rejects every request.*no such parameter"),
    ):
        asked(server, 40, at_once=1)
    assert 16 <= len(server.asked) < 20


def loaded(writer):
    writer.load()
    return writer


def said(content, finish="stop", **more):
    return {"choices": [{"message": {"content": content, **more}, "finish_reason": finish}]}


#: What a server may say, and what the row gets: its text, and how it ended.
SHAPES = [
    (said(None), None, "empty"),
    (said(None, reasoning="hm"), None, "empty"),
    (said(None, "tool_calls", tool_calls=[]), None, "empty"),
    (said(None, "SAFETY"), None, "moderated"),
    (said("Sorry.", "content_filter"), None, "moderated"),
    (said("", refusal="I cannot"), None, "refused"),
    (said("a cat", refusal=""), "a cat", "stop"),
    (said("  \n"), None, "empty"),
    (said(17), None, "empty"),
    (said([{"type": "text", "text": "a"}, {"type": "text", "text": "cat"}]), "a cat", "stop"),
    (said([{"type": "thinking", "thinking": []}, {"type": "text", "text": "a cat"}]), "a cat", "stop"),
    (said("<think>it is a\ncat</think>\n\na cat"), "a cat", "stop"),
    (said("<think>it is", "length"), None, "length"),
    (said("a cat sits on", "max_tokens"), "a cat sits on", "length"),
    (said("a cat", "eos"), "a cat", "stop"),
    (said("a cat", None), "a cat", "stop"),
    (said("a cat", 7), "a cat", "stop"),
    (said("a cat.<|im_end|>"), "a cat.", "stop"),
    (said("<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>a cat"), "a cat", "stop"),
    (said("a \ud83d cat\x00"), "a \ufffd cat\ufffd", "stop"),
    ({"choices": []}, None, "empty"),
    ({"choices": None}, None, "empty"),
    ({"choices": {}}, None, "empty"),
    ({"choices": [None]}, None, "empty"),
    ({"choices": None, "promptFeedback": {"blockReason": "SAFETY"}}, None, "moderated"),
    ({"choices": [{"message": None, "finish_reason": "stop"}]}, None, "empty"),
    ({"choices": [{"text": "a cat", "finish_reason": "stop"}]}, "a cat", "stop"),
    ({}, None, "empty"),
    ({"error": {"code": "content_policy", "message": "flagged"}}, None, "moderated"),
    (b'\xef\xbb\xbf{"choices":[{"message":{"content":"a caf\xe9"}}]}', "a caf\ufffd", "stop"),
    (
        b'data: {"choices":[{"delta":{"content":"a "}}]}\n\ndata: {"choices":[{"delta":{"content":"cat"}}]}\n\ndata: [DONE]',
        "a cat",
        "stop",
    ),
    (b': PROCESSING\n\ndata: {"choices":[{"delta":{"content":"a cat"},"finish_reason":"length"}]}\n\n', "a cat", "length"),
    ((403, {}, b'{"error":{"message":"Your input was flagged by moderation"}}'), None, "moderated"),
    ((400, {}, b'{"error":{"code":"content_policy_violation"}}'), None, "moderated"),
    ((451, {}, b"{}"), None, "rejected"),
    ((413, {}, b"too large"), None, "rejected"),
]


@pytest.mark.parametrize("shape, text, finish", SHAPES)
def test_an_answer_of_any_shape_costs_its_row_and_one_request(shape, text, finish):
    with Server(GOOD, shape, GOOD) as server:
        found = asked(server, 3, at_once=1)
    assert [(a.text, a.finish) for a in found] == [("a dog", "stop"), (text, finish), ("a dog", "stop")]
    assert len(server.asked) == 3


@pytest.mark.parametrize("usage", ["NaN", '"5"', "5.5", "-1", "true", "1e400", "{}", "null", "99999999999"])
def test_any_count_of_tokens_is_a_number_or_none(usage):
    body = f'{{"choices":[{{"message":{{"content":"a cat"}}}}],"usage":{{"prompt_tokens":{usage},"completion_tokens":3}}}}'
    with Server(body.encode()) as server:
        (answer,) = asked(server)
    expected = 5 if usage in ('"5"', "5.5") else None
    assert (answer.text, answer.tokens_in, answer.tokens) == ("a cat", expected, 3)


WITHIN = {"choices": [{"error": {"code": 502, "message": "upstream"}, "message": {"content": ""}, "finish_reason": "error"}]}


@pytest.mark.parametrize(
    "fault",
    [(500, {}, b"oops"), "drop", b"<html>", (200, {"Content-Length": "5000"}, b"{"), WITHIN, {"error": {"code": "503"}}],
)
def test_a_request_at_which_the_server_breaks_costs_its_row(fault):
    with Server(GOOD, *[fault] * 3, GOOD) as server:
        assert [a.finish for a in asked(server, 3, at_once=1, attempts=3)] == ["stop", "error", "stop"]


def test_a_server_that_breaks_at_every_request_ends_the_run_after_some():
    with Server(GOOD, (500, {}, b"oops")) as server, pytest.raises(Unavailable, match="oops"):
        asked(server, 40, at_once=1, attempts=1, patience=0)
    assert 1 + 16 + 1 <= len(server.asked) <= 1 + 16 + 2


def test_a_server_that_is_gone_is_waited_for_and_costs_no_row():
    with Server(GOOD, *[(503, {}, b"")] * 5, GOOD) as server:
        assert [a.finish for a in asked(server, 2, at_once=1, attempts=2, patience=60)] == ["stop", "stop"]
    with pytest.raises(Unavailable, match=r"no answer after \d+ attempts: no connection"):
        asked(server, 9, attempts=1, patience=0.1)


def test_pauses_have_a_bound_however_long_the_patience(no_waiting, monkeypatch):
    writer = loaded(Endpoint("m", url="http://127.0.0.1:9/v1", patience=1e9, attempts=1100))

    async def busy(turn, data):
        if len(no_waiting) > 1100:
            raise RecipeError("enough")
        raise Again("busy")

    monkeypatch.setattr(writer, "_post", busy)
    with pytest.raises(RecipeError, match="enough"):
        answers(writer)
    assert max(no_waiting) <= 60


def test_a_stage_with_odd_answers_makes_columns_that_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("curate.synth.captioners.request_loop.PREPARING", 1)  # requests in the order of the server's answers
    with Server(*[shape for shape, _, _ in SHAPES], GOOD) as server:
        stage = Caption(Endpoint("m", url=server.url, at_once=1), prompt="short")
        stage.load()
        stage.by._taken = 1
        images = [np.full((8, 8, 3), i, np.uint8) for i in range(len(SHAPES))]
        found = stage.run(pa.table({"uid": [f"{i:032x}" for i in range(len(SHAPES))]}), images)
    pq.write_table(found, tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet")[stage.name].to_pylist() == [text for _, text, _ in SHAPES]


def test_a_kept_answer_that_is_broken_is_asked_for_again(tmp_path):
    with Server(GOOD) as server:
        asked(server, cache=str(tmp_path))
        for file in tmp_path.rglob("*.json"):
            file.write_bytes(b'{"cho')
        assert asked(server, cache=str(tmp_path))[0].text == "a dog" and len(server.asked) == 2
        (tmp_path / "file").write_bytes(b"")
        assert asked(server, cache=str(tmp_path / "file"))[0].text == "a dog"


def test_answers_are_kept_without_a_setting(monkeypatch, tmp_path):
    monkeypatch.delenv("CURATE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    with Server(GOOD) as server:
        asked(server), asked(server)
    assert len(server.asked) == 1 and list(tmp_path.glob(".cache/curate/answers/*/*.json"))


@pytest.mark.parametrize("status", [401, 402, 403, 404, 307])
def test_a_wrong_key_or_model_is_said_at_once(status):
    with Server((status, {}, b"who are you")) as server, pytest.raises(RecipeError, match=f"status {status}: who are you"):
        asked(server)
    assert len(server.asked) == 1


def test_answers_are_remembered_by_request(tmp_path):
    with Server(GOOD) as server:
        first = asked(server, 5, cache=str(tmp_path))
        again = asked(server, 5, cache=str(tmp_path))
        assert len(server.asked) == 5 and first == again
        asked(server, 6, cache=str(tmp_path))
        assert len(server.asked) == 6
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".json"]


def test_many_rejected_among_remembered_answers_are_single_rows(tmp_path):
    with Server(GOOD) as server:
        asked(server, 1, cache=str(tmp_path))
    with Server((400, {}, b"bad image")) as server:
        finish = [a.finish for a in asked(server, 20, at_once=1, cache=str(tmp_path))]
    assert finish == ["stop"] + ["rejected"] * 19


def test_what_was_answered_before_a_failure_is_not_asked_again(tmp_path):
    with Server(GOOD, GOOD, (503, {}, b"")) as server, pytest.raises(Unavailable):
        asked(server, 3, at_once=1, attempts=1, patience=0, cache=str(tmp_path))
    with Server(GOOD) as server:
        assert len(asked(server, 3, cache=str(tmp_path))) == 3 and len(server.asked) == 1


def test_cost_and_key(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    with Server(GOOD) as server:
        (answer,) = asked(server, key="MY_KEY", price_in=2.0, price_out=10.0)
    assert answer.cost == pytest.approx((100 * 2 + 4 * 10) / 1e6)
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert "secret" not in str(Endpoint("m", key="MY_KEY"))


def test_the_pace_is_even(no_waiting):
    async def four():
        pace = RequestRate(60)
        await asyncio.gather(*(pace.wait() for _ in range(4)))

    asyncio.run(four())
    assert [round(p) for p in no_waiting] == [1, 1, 1]


def test_a_caption_through_the_stage():
    with Server(GOOD) as server:
        stage = Caption(Endpoint("m", url=server.url, largest=32), prompt="short")
        stage.load()
        found = stage.run(pa.table({"uid": ["a" * 32]}), [np.zeros((64, 128, 3), np.uint8)])
    assert stage.network and found[stage.name].to_pylist() == ["a dog"]
    made = found[f"{stage.name}_made"][0].as_py()
    assert (made["image_width"], made["image_height"]) == (32, 16)
    content = server.asked[0]["messages"][0]["content"]
    assert content[0]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/") and content[1]["text"].startswith(
        "Describe"
    )
    assert server.asked[0]["seed"] == server.asked[0]["seed"] & (2**63 - 1)


def test_the_same_texts_whatever_the_url():
    assert Endpoint("m", url="http://a/v1").identity() == Endpoint("m", url="http://b/v1", at_once=3).identity()
    with pytest.raises(RecipeError):
        Endpoint("m", url="a/v1")


def test_a_server_that_is_not_there_is_said_before_the_run():
    with Server(GOOD) as server:
        Endpoint("m", url=server.url).preflight()
    with pytest.raises(RecipeError, match=r"endpoint http://127.0.0.1:\d+/v1: nobody answers there"):
        Endpoint("m", url=server.url).preflight()
    with pytest.raises(RecipeError, match="nobody answers there"):
        Endpoint("m", url="http://no-such-host.invalid/v1").preflight()
