"""Headers as owners and busy servers write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.web.headers import OPT_OUTS, for_robots, opt_outs, reserved, retry_after

#: Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples.
THEN = 784111777


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("1.5", 1.5),
        ("120, 120", 120),
        ("9" * 400, 1e9),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 09:50:37 +0100", 60),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1e9),
        ("-5", None),
        ("1e9", None),
        ("inf", None),
        ("٣", None),
        ("soon", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +9999", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value, THEN) == seconds


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"\A[A-Za-z]{0,9},? ?-?\d{0,3}[ -](?:Jan|Feb|x)[ -]\d{0,12} [\d:]{0,9} ?(?:GMT|[+-]\d{0,5})?\Z"),
    )
)
def test_retry_after_is_a_number_of_seconds_or_none(value):
    found = retry_after(value, THEN)
    assert found is None or 0 <= found <= 1e9


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("noai, NoImageAI", "noai noimageai"),
        ("noai noimageai", "noai noimageai"),
        ("noai;noindex", "noai noindex"),
        ("NOAI,NOINDEX", "noai noindex"),
        ('"noai"', "noai"),
        ("no-ai, no_index", "noai noindex"),
        ("noai=true", "noai"),
        ("none", "none"),
        ("all, index, follow, nofollow, noarchive", ""),
        ("*: noai", "noai"),
        ("robots: noai", "noai"),
        ("mybot: noai, noindex", "noai noindex"),
        ("MyBot : noai", "noai"),
        ("mybot/1.0:noai", "noai"),
        ("googlebot: noai, noindex", ""),
        ("googlebot: noai, mybot: noindex", "noindex"),
        ("noml, googlebot: noai", "noml"),
        ("nosnippet: yes, noai", "noai"),
        ("unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noai", "noai"),
        ("unavailable_after: Wednesday, 25-Jun-31 15:00:00 GMT, noai", "noai"),
        ("noai, unavailable_after: 25 Jun 2031 15:00:00 PST", "noai"),
        ("unavailable_after: 2031-06-25T15:00:00Z, noai", "noai"),
        ("unavailable_after: 25 Jun 2031 15:00 UTC+01:00 noai", "noai"),
        ("unavailable_after: 25 Jun 2031 15:00:00 +0100; noai", "noai"),
        ("max-image-preview: none, max-snippet: 20", ""),
        ("max-image-preview:none noindex", "noindex"),
        ("two words: noai", ""),
        ("noaides, xnoai, ainoindex", ""),
        (" , ", ""),
    ],
)
def test_opt_outs_of_a_robot(tag, words):
    assert opt_outs([tag], "MyBot") == set(words.split())


def test_opt_outs_of_several_headers_and_of_any_robot():
    assert opt_outs(["googlebot: noindex", "noai"], "MyBot") == {"noai"}  # each header begins anew
    assert opt_outs(["googlebot: noindex, otherbot: noai"]) == {"noai", "noindex"}


_SEPARATORS = st.sampled_from([", ", ",", " ", ";", " ,, ", "\t"])
_OTHER = st.sampled_from(
    ["all", "nofollow", "max-snippet: 5", "max-image-preview:none", "unavailable_after: 2031-06-25T15:00:00Z"]
)


@given(st.lists(st.one_of(st.sampled_from(sorted(OPT_OUTS)), _OTHER), max_size=6), _SEPARATORS, st.booleans())
def test_words_are_found_whatever_stands_between_and_beside_them(words, separator, upper):
    tag = separator.join(words)
    assert opt_outs([tag.upper() if upper else tag], "mybot") == OPT_OUTS.intersection(words)


def test_names_of_meta_elements():
    names = (
        "robots",
        "ROBOTS",
        "robot",
        "googlebot",
        "Googlebot-Image",
        "GPTBot",
        "x-robots-tag",
        "baiduspider",
        "Google-Extended",
        "anthropic-ai",
    )
    assert all(map(for_robots, names)) and not any(map(for_robots, ("description", "bottom", "og:image", "", "generator")))


def test_reservations():
    assert all(reserved([v]) for v in ("1", " 1", '"1"', "1; x", "0, 1", "true", "Yes")) and reserved(["0", "1"])
    assert not any(reserved([v]) for v in ("0", "", "10", "1.5", "false", "no", "x1"))
