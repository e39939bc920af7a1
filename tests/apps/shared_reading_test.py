"""What runs have to share to be evaluated on the same photographs."""

import types

import pytest

from apps.loading import photographs_of


def loaded(**config):
    record = types.SimpleNamespace(config=config) if config else None
    return types.SimpleNamespace(
        record=record, classifier=types.SimpleNamespace(input_shape=(None, 32, 32, 3))
    )


def test_photographs_are_read_as_the_runs_did_or_as_a_model_takes_them():
    run = loaded(classes=["a", "b"], image_size=24, eval_crop=0.9)
    assert photographs_of([loaded(), run, run], {}) == run.record.config
    assert photographs_of([loaded()], {}) == {"image_size": 32}


@pytest.mark.parametrize(
    "name, values",
    [
        ("classes", (["a", "b"], ["a", "c"])),
        ("image_size", (24, 32)),
        ("eval_crop", (None, 0.9)),
    ],
)
def test_runs_that_read_them_otherwise_are_refused_in_any_order(name, values):
    one, other = (loaded(**{"seed": 0, name: value}) for value in values)
    for pair in ([one, other], [other, one]):
        with pytest.raises(ValueError, match=f"share their {name} .*Received: .* and"):
            photographs_of(pair, {})
    if name != "classes":
        photographs_of([one, other], {name: 1})  # a flag says it for both
