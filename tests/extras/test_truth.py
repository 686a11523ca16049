"""Measuring a ledger against the truth: a perfect run scores 1, and each kind of mistake is seen as what it is."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.extras.demo.truth import auc, columns, measure


@pytest.fixture(scope="module")
def truth(drawn_web) -> pa.Table:
    return pq.read_table(drawn_web.truth)


def ledger(truth: pa.Table, mistakes: dict[int, str | None] | None = None) -> pa.Table:
    """What a perfect run would write, but for the mistakes (row -> reason); dedup keeps the first row of a group."""
    seen, reasons = set(), []
    for row in truth.to_pylist():
        reason = row["expected"][0] if row["expected"] else None
        for column, name in (("same_row", "duplicate_uid"), ("same_bytes", "exact_dedup"), ("same_picture", "near_dedup")):
            if reason is None and row[column] is not None:
                reason = name if (column, row[column]) in seen else None
                seen.add((column, row[column]))
        reasons.append(reason)
    for row, reason in (mistakes or {}).items():
        reasons[row] = reason
    score = [0.9 if m else 0.1 if m is False else None for m in truth["matched"].to_pylist()]
    reasons = pa.array(reasons, pa.large_string())
    return pa.table({"url": truth["url"], "text": truth["text"], "drop_reason": reasons, "clip_score": score})


def reason(measured, name: str) -> dict:
    return next(line for line in measured.reasons.to_pylist() if line["reason"] == name)


def rows(truth: pa.Table, fault: str) -> list[int]:
    return [r["row"] for r in truth.to_pylist() if r["fault"] == fault]


def test_a_perfect_run_scores_one_everywhere(truth):
    measured = measure(ledger(truth), truth)
    assert len(measured.reasons) > 25
    for line in measured.reasons.to_pylist():
        assert (line["recall"], line["elsewhere"]) == (1.0, 0), line
        assert line["precision"] == 1.0, line
    assert all(line["auc"] == 1.0 for line in measured.auc.to_pylist())
    assert all(line["fell_wrongly"] == 0 for line in measured.faults.to_pylist())


def test_the_order_of_the_ledger_does_not_matter(truth):
    perfect = ledger(truth)
    assert measure(perfect.take(list(range(len(perfect)))[::-1]), truth).reasons.equals(measure(perfect, truth).reasons)


def test_a_miss_lowers_recall_and_a_false_drop_precision(truth):
    missed, wrong = rows(truth, "http_404")[0], rows(truth, "clean")[0]
    measured = measure(ledger(truth, {missed: None, wrong: "language"}), truth)
    dead = reason(measured, "fetch:http_404")
    assert dead["recall"] == (dead["should"] - 1) / dead["should"] < 1 and dead["precision"] == 1
    assert reason(measured, "language")["right"] == reason(measured, "language")["dropped"] - 1
    assert measured.faults.to_pylist()[0]["fell_wrongly"] == 1


def test_another_right_reason_counts_as_caught_and_a_wrong_one_as_elsewhere(truth):
    first, second = rows(truth, "other_language")[:2]
    line = reason(measure(ledger(truth, {first: "clip_score", second: "image_side"}), truth), "language")
    assert (line["caught"], line["elsewhere"]) == (line["should"] - 1, 1)


def test_dedup_may_keep_any_one_row_of_a_group(truth):
    table = truth.to_pylist()
    copy = next(r for r in table if r["fault"] == "exact_duplicate" and r["same_picture"] is None and r["same_row"] is None)
    group = [r["row"] for r in table if r["same_bytes"] == copy["same_bytes"]]
    if len(group) == 2:
        for kept in group:
            other = next(r for r in group if r != kept)
            line = reason(measure(ledger(truth, {kept: None, other: "exact_dedup"}), truth), "exact_dedup")
            assert (line["precision"], line["recall"]) == (1, 1)
    line = reason(measure(ledger(truth, dict.fromkeys(group, "exact_dedup")), truth), "exact_dedup")
    assert line["right"] == line["dropped"] - 1
    line = reason(measure(ledger(truth, dict.fromkeys(group)), truth), "exact_dedup")
    assert line["recall"] < 1 and line["precision"] == 1


def test_choices_are_not_findings_and_selectors_may_have_any_name(truth):
    kept, wrong = rows(truth, "clean")[0], rows(truth, "wrong_caption")[0]
    measured = measure(ledger(truth, {kept: "balance", wrong: "taste"}), truth, names={"taste": "clip_score"})
    assert "balance" not in measured.reasons["reason"].to_pylist()
    assert reason(measured, "clip_score")["recall"] == 1


def test_a_ledger_of_another_list_is_refused(truth):
    perfect = ledger(truth)
    with pytest.raises(ValueError, match="rows"):
        measure(perfect.slice(1), truth)
    other = perfect.set_column(0, "url", pa.array(["http://elsewhere/"] * len(perfect), pa.large_string()))
    with pytest.raises(ValueError, match="does not know"):
        measure(other, truth)


def test_auc_counts_ties_half():
    assert auc([2, 3], [0, 1]) == 1 and auc([0], [1]) == 0 and auc([1, 1], [1]) == 0.5 and auc([1, 2], [1]) == 0.75


def test_the_report_is_plain_text(truth):
    text = str(measure(ledger(truth), truth))
    assert "Precision and recall" in text and "fetch:http_404" in text
    assert columns(pa.table({"a_b": ["x"], "n": [1.5]})).splitlines() == ["a b      n", "x    1.500"]


def test_each_step_is_measured_by_what_it_leaves(truth):
    """A perfect run ends with every picture once and none that should not stay; a step that drops good rows costs recall."""
    perfect = ledger(truth)
    stages = [r and r.split(":")[0] for r in perfect["drop_reason"].to_pylist()]
    order = list(dict.fromkeys(s for s in stages if s))
    lost = rows(truth, "clean")[0]
    stages[lost] = "balance"
    reasons = [*perfect["drop_reason"].to_pylist()]
    reasons[lost] = "balance"
    measured = measure(
        perfect.set_column(2, "drop_reason", pa.array(reasons, pa.large_string())).append_column(
            "drop_stage", pa.array(stages)
        ),
        truth,
        order=[*order, "balance"],
    ).steps.to_pylist()
    assert [line["step"] for line in measured] == ["(the list)", *order, "balance"]
    assert measured[0]["recall"] == 1 and measured[0]["precision"] < 0.9
    assert measured[-2]["precision"] == measured[-2]["recall"] == 1
    good = measured[-2]["left"]
    assert measured[-1] == {"step": "balance", "dropped": 1, "left": good - 1, "precision": 1.0, "recall": (good - 1) / good}
