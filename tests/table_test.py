"""One table in three formats: the same cells, escaped as each format asks."""

import csv
import io

import pytest
from conftest import check_latex

from nfm_keras.table import Table, Text, escape

TABLE = Table(
    ["scheme", "0.1", "0.2", "seeds"],
    [
        ["a|b_1 & 50 %", 90.125, None, [Text("0", "a%20b/r.json"), Text("1", "c")]],
        [Text("paper", style="aside"), 1, "—", Text("x_y", style="code")],
    ],
    "lrrl",
    groups=[("", 1), ("noise σ", 2), ("", 1)],
)


def test_markdown_has_links_styles_and_escaped_bars():
    assert TABLE.to_markdown().split("\n") == [
        "| scheme | noise σ 0.1 | noise σ 0.2 | seeds |",
        "|---|---:|---:|---|",
        "| a\\|b_1 & 50 % | 90.125 |  | [0](a%20b/r.json) [1](c) |",
        "| *paper* | 1 | — | `x_y` |",
        "",
    ]


def test_a_name_has_no_marks_of_markdown():
    names = "*a* [b](c) <d> `e`", "__f_g_ h", "i|j\\", "p < 0.1 [0.2, 3] a_b"
    table = Table(names[:2], [[name, Text(name, "x.json")] for name in names])
    assert table.to_markdown().splitlines() == [
        r"| \*a\* [b\](c) \<d> \`e\` | \_\_f_g\_ h |",
        "|---|---|",
        r"| \*a\* [b\](c) \<d> \`e\` | [\*a\* \[b\](c) \<d> \`e\`](x.json) |",
        r"| \_\_f_g\_ h | [\_\_f_g\_ h](x.json) |",
        r"| i\|j\\ | [i\|j\\](x.json) |",
        r"| p < 0.1 [0.2, 3] a_b | [p < 0.1 \[0.2, 3\] a_b](x.json) |",
    ]
    assert table.to_csv().splitlines()[2] == ",".join([names[1]] * 2)


def test_csv_reads_back_with_all_digits():
    table = Table(["name", "value"], [["a,\nb", 1 / 3], [Text("c", "d"), None]])
    head, first, second = csv.reader(io.StringIO(table.to_csv()))
    assert head == ["name", "value"] and first[0] == "a,\nb"
    assert float(first[1]) == 1 / 3 and second == ["c", ""]
    assert TABLE.to_csv().splitlines()[1].endswith(",90.125,,0 1")


def test_latex_is_balanced_and_has_the_groups_over_their_columns():
    text = TABLE.to_latex("Test accuracy, 50 %")
    assert check_latex(text) == 4  # the groups, the header and two rows
    assert r"\caption{Test accuracy, 50 \%}" in text
    assert r" & \multicolumn{2}{c}{noise $\sigma$} &  \\" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"a\textbar{}b\_1 \& 50 \% & 90.125 &  & 0 1 \\" in text
    assert r"\quad\emph{paper} & 1 & --- & \texttt{x\_y} \\" in text
    assert "caption" not in TABLE.to_latex()


def test_letters_of_latex_are_escaped():
    assert escape("\\ ~ ^ {}") == (
        r"\textbackslash{} \textasciitilde{} \textasciicircum{} \{\}"
    )
    assert escape("<|>") == r"\textless{}\textbar{}\textgreater{}"


def test_dicts_of_different_keys_make_one_table():
    table = Table.from_dicts([{"a": 1, "b": 2}, {"b": 3, "c": None}])
    assert table.to_csv() == "a,b,c\n1,2,\n,3,\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((["a", "b"], [["1"]]), "a cell for each.*Received: 1 cells"),
        ((["a"], [], "c"), "`align`.*Received: 'c'"),
        ((["a"], [], ""), "`align`.*Received: ''"),
        ((["a", "b"], [], "l", [("x", 1)]), "cover the 2 columns.*Received"),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Table(*arguments)
