"""Batches are cut by length, and a request that breaks the model costs itself alone."""

from dataclasses import dataclass

from curate.synth.captioners import Answer, BatchWriter, Decoding, PendingRequest, RequestLoop


@dataclass
class Lengths(BatchWriter):
    engine = "lengths"
    batch = 4

    def load(self):
        self.batches = []

    def write(self, requests, decoding):
        self.batches.append([len(r.text) for r in requests])
        if any("!" in r.text for r in requests):
            raise RuntimeError("broken")
        return [Answer(r.text, "stop") for r in requests]


def answers(texts):
    by = Lengths()
    by.load()
    with RequestLoop(by, Decoding()) as asking:
        found = {got.key: got.answer for got in asking.answers(PendingRequest(i, (t,), i) for i, t in enumerate(texts))}
    return by, [found[i] for i in range(len(texts))]


def test_texts_of_about_the_same_length_go_together():
    texts = ["x" * (1 + (i % 2) * 99) for i in range(64)]
    by, found = answers(texts)
    assert [a.text for a in found] == texts and max(map(len, by.batches)) == 4
    assert sum(len(set(lengths)) > 1 for lengths in by.batches) <= 2


def test_the_request_that_breaks_a_batch_is_found():
    texts = [f"text {i}" for i in range(20)]
    texts[7] += "!"
    _, found = answers(texts)
    assert [i for i, a in enumerate(found) if a.finish == "error"] == [7]
    assert [a.text for a in found if a.text] == [t for i, t in enumerate(texts) if i != 7]
