"""What `curate sql -o x.csv` writes, for people who open it in a spreadsheet."""

import duckdb

from curate.cli.query import _for_people


def test_a_csv_holds_no_formula_and_no_control_characters():
    made = duckdb.connect().sql("""select '=1' as a, ' +x' as "b""=c", chr(27) || '[2J' as d, 5 as n, [1] as l, null::varchar as z,
        chr(27) || '=2' as e, chr(10) || '=3' as f, chr(65309) || 'cmd' as g, -5 as neg, 'a=b' as same, 'twice' as same, 1 as "=x" """)
    shown = _for_people(made)
    assert shown.columns == ["a", 'b"=c', "d", "n", "l", "z", "e", "f", "g", "neg", "same", "same", "'=x"]
    row = ("'=1", "' +x", "\ufffd[2J", 5, [1], None, "'\ufffd=2", "'\n=3", "'\uff1dcmd", -5, "a=b", "twice", 1)
    assert shown.fetchall() == [row]
