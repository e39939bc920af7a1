"""The numbers of README and docs are those of the records."""

import pathlib

import derived_numbers
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", derived_numbers.PAGES)
def test_deriving_them_again_changes_nothing(page):
    assert derived_numbers.derived(page, text_of(page)) == text_of(page)


@pytest.mark.parametrize(
    "page, before, right, wrong",
    [
        ("docs/results.md", "cifar10/nfm/record.json) | ", "87.2", "88.8"),
        ("docs/results.md", "| *nfm, paper* | ", "95.4", "96.5"),
        ("docs/results.md", "table1/nfm/seed_0/record.json) | ", "5", "9"),
        ("docs/results.md", "sigma 0.06, n = 100 | ", "21", "22"),
        ("docs/results.md", "contrast (", "-4.0", "-4.1"),
        ("docs/results.md", "white noise ", "+3.1", "+3.2"),
        ("README.md", "It costs clean accuracy there: ", "87.2", "87.3"),
    ],
    ids=["row", "paper", "minutes", "suite", "sentence", "toy", "readme"],
)
def test_a_wrong_number_is_put_right(page, before, right, wrong):
    text = text_of(page)
    assert text.count(before + right) == 1
    broken = text.replace(before + right, before + wrong)
    assert derived_numbers.derived(page, broken) == text


def test_a_sentence_that_is_gone_is_named():
    page = "README.md"
    text = text_of(page).replace("It costs clean accuracy there", "It costs")
    with pytest.raises(ValueError, match="It costs clean accuracy there"):
        derived_numbers.derived(page, text)


def test_every_table_of_records_has_columns_that_are_derived():
    lines = text_of("docs/results.md").split("\n")
    derived = 0
    for start, end in derived_numbers.tables(lines):
        rows = lines[start:end]
        if any(derived_numbers.RECORD.search(row) for row in rows):
            _, *names = derived_numbers.columns(derived_numbers.cells(rows[0]))
            assert None not in names, rows[0]
            derived += 1
    assert derived >= 5
