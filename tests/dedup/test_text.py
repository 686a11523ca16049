import random
import unicodedata

import pytest

from curate.dedup import text
from curate.dedup.text import TextDedup, jaccard, normal, shingles
from curate.errors import RecipeError
from tests.dedup.pool import edges, in_chunks, live, uid

WORDS = "a red cat sits on the old wooden table near blue house with green roof under tall tree in summer light".split()


def captions(n, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) + str(rng.randint(0, 50)) for _ in range(12)) for _ in range(n)]


def survivors(texts, **parameters):
    chosen = TextDedup(**parameters).select(live(text=texts))
    return dict(zip(edges(chosen)["id"].to_pylist(), edges(chosen)["survivor"].to_pylist()))


def oracle(texts, bound):
    sets = [shingles(normal(t), 5) for t in texts]
    fallen = {}
    order = sorted(range(len(texts)), key=uid)
    for n, i in enumerate(order):
        better = [j for j in order[:n] if j not in fallen and jaccard(sets[i], sets[j]) >= bound]
        if better:
            fallen[i] = better[0]
    return fallen


def test_normal():
    assert normal("  A Red\tCAT!! ") == normal("a_red-cat") == "a red cat"
    assert normal("Ｆｕｌｌ ﬁne") == "full fine" and normal("***") == "***" and normal("橙色的猫。") == "橙色的猫"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Learn C#", "Learn C", False),
        ("Learn C++!", "learn c++", True),
        ("Learn C++", "Learn C", False),
        ("F# in C", "F in C#", False),
        ("grade A+", "grade A", False),
        ("from $5", "from 5", False),
        ("from $5", "from €5", False),
        ("from 5€.", "From 5€", True),
        ("5% off", "5 off", False),
        ("5％ off", "5% off", True),
        ("at -5 degrees", "at 5 degrees", False),
        ("at −5 degrees", "at -5 degrees", True),
        ("#cat #dog", "cat, dog", True),
        ("2020-05-01", "2020 05 01", True),
        ("red+blue", "red blue", True),
        ("item#4", "item 4", True),
        ("a - b", "a b", True),
        ("US$ and more", "us and more", True),
    ],
)
def test_signs_that_are_part_of_a_word_stay(one, other, same):
    assert (normal(one) == normal(other)) == same


def test_the_same_after_normalisation():
    texts = ["A red cat.", "a red  CAT", "a blue cat", None, "", " \n", "!!", "!!", "??"]
    fallen = survivors(texts, min=1)
    assert set(fallen) | set(fallen.values()) == {0, 1, 6, 7} and len(fallen) == 2


def test_nearly_the_same_agrees_with_comparing_all_with_all():
    texts = captions(150)
    texts += [t.replace("cat", "dog", 1) + "!" for t in texts[:60]] + [t.upper() for t in texts[60:90]]
    fallen = survivors(texts, min=0.8, bands=40, rows=4)  # finds a pair of similarity 0.8 with probability 1 - 6e-10
    assert fallen == oracle(texts, 0.8) and len(fallen) >= 80


def test_similarity_is_exact_and_no_collision_drops():
    texts = captions(300)
    chosen = TextDedup(min=0.5, bands=64, rows=1).select(live(text=texts))  # nearly every pair shares a bucket
    assert len(chosen.dropped()) == len(oracle(texts, 0.5))
    pair = ["one two three four five six", "one two three four five sex"]
    edge = edges(TextDedup(min=0.5, bands=32, rows=1).select(live(text=pair))).to_pylist()[0]
    assert edge["similarity"] == pytest.approx(jaccard(shingles(pair[0], 5), shingles(pair[1], 5)))


@pytest.mark.parametrize("chunks", [1, 7])
def test_the_same_for_any_chunks_and_order(chunks, tmp_path):
    texts = captions(40) + [t + " x" for t in captions(40)]
    whole = TextDedup(min=0.7, bands=32, rows=4).select(live(text=texts))
    cut = TextDedup(min=0.7, bands=32, rows=4).select(in_chunks(live(text=texts), chunks, str(tmp_path)))
    assert edges(cut) == edges(whole)
    order = list(range(80))
    random.Random(chunks).shuffle(order)
    mixed = TextDedup(min=0.7, bands=32, rows=4).select(live(text=[texts[i] for i in order], uid=[uid(i) for i in order]))
    assert {order[i] for i in mixed.dropped()} == set(whole.dropped()) and len(whole.dropped()) >= 39


def test_the_better_row_stays():
    chosen = TextDedup(by=("score",)).select(live(text=["cat", "Cat", "CAT"], score=[1, 3, 2]))
    assert list(chosen.dropped()) == [0, 2]


def test_wrong_parameters_are_refused():
    for wrong in ({"min": 0}, {"min": 1.1}, {"rows": 0}):
        with pytest.raises(RecipeError):
            TextDedup(**wrong)


def test_an_empty_pool():
    assert len(TextDedup().select(live(text=[None, ""])).dropped()) == 0


def test_marks_belong_to_words():
    """Hindi and Thai write vowels as marks: without them these are the same."""
    for one, other in (("दिन", "दीन"), ("ปี", "ปู"), ("কি", "কী")):
        assert normal(one) != normal(other) and normal(f"«{one}»") == unicodedata.normalize("NFKC", one)
    assert not survivors(["एक दिन की बात", "एक दीन का बात"], min=1)


def test_blanks_of_any_kind_are_no_text():
    assert not survivors(["\u00a0", "\u3000", "\u00a0\u2003", "\x85", "\x1c"])


def crowd():
    """Twelve near copies of a text, best first, then two near copies of one that is a little like it."""
    base = " ".join(captions(1)[0].split() * 2)
    other = base[:-14] + " quite an end"
    return [f"{base} {n}" for n in range(12)] + [other, other + "s"]


def test_rows_that_fall_do_not_hide_others_from_each_other(monkeypatch):
    """One bucket, and a row is compared with 3: those that fell in the first round make room in the next."""
    monkeypatch.setattr(text, "_BUCKET", 3)
    rows = live(text=crowd(), score=list(range(14, 0, -1)))
    chosen = TextDedup(min=0.95, bands=1, rows=1, by=("score",)).select(rows)
    assert chosen.notes["rounds"] >= 2 and chosen.dropped().tolist() == [*range(1, 12), 13] and chosen.notes["crowded"] == 0


def test_buckets_in_which_too_many_stay_are_counted(monkeypatch):
    monkeypatch.setattr(text, "_BUCKET", 3)
    notes = TextDedup(min=0.999, bands=1, rows=1).select(live(text=crowd())).notes
    assert notes["crowded"] == 1
