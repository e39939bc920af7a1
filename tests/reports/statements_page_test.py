"""The figures of the printed statements are drawn from the record in the repository."""

import json
import pathlib

from nfm_keras import records
from nfm_keras.reports.pages import statements, theory

RESULTS = pathlib.Path(__file__).parents[2] / "results" / "theory"


def test_the_record_says_what_holds_and_is_drawn_from_alone(tmp_path):
    record = records.read_json(RESULTS / "statements" / statements.FILE)
    for case in record["expansion"]:
        wrong = dict(case["slopes"])
        assert wrong.pop("theorem 1") > 2.7 < wrong.pop("(26), its own")
        assert max(wrong.values()) < 1.1
    holds, fails = record["adversarial"]["gaps"].values()
    assert min(holds) > 0 > max(fails)
    page = statements.write(record, tmp_path)
    text = page.read_text(encoding="utf-8")
    names = [path.name for path in tmp_path.glob("*.png")]
    assert len(names) == 6 and all(f"({name})" in text for name in names)
    known = (RESULTS / "statements" / statements.FILE).read_text(encoding="utf-8")
    assert json.loads(known) == records.read_json(tmp_path / statements.FILE)


def test_the_digits_page_is_that_of_its_record(tmp_path):
    record = records.read_json(RESULTS / "digits" / theory.FILE)
    text = theory.write(record, tmp_path).read_text(encoding="utf-8")
    assert text == (RESULTS / "digits" / "theory.md").read_text(encoding="utf-8")
    assert "What predicts robustness" in text
