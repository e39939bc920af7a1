"""What scores that are shown together are called: what tells them apart is in it."""

import json

from nfm_keras.records import ids
from nfm_keras.records.score import merge


def naming(scores, *, protocols=True):
    """Returns a function from a `Score` to its family and the name of its column.

    An attack that was run with several settings has those that differ in both names:
    `"pgd@8/255 (steps=20)"`; noise under two protocols has its protocol.

    Args:
        scores: iterable of all `Score`s that are shown together.
        protocols: bool. Name the protocol where a kind has several.
    """

    def told(score):
        protocol = {"protocol": score.protocol} if protocols else {}
        return protocol | _settings(score)

    kinds = {}
    for score in scores:
        kinds.setdefault(ids.kind(score.perturbation), []).append(told(score))
    differing = {kind: sorted(varying(settings)) for kind, settings in kinds.items()}

    def name(score):
        kind, settings = ids.kind(score.perturbation), told(score)
        settings = {key: settings.get(key) for key in differing[kind]}
        return labelled(kind, settings), labelled(score.perturbation, settings)

    return name


def named_scores(scores, name):
    """Returns scores by name, of several of one the last, or that on more images.

    Args:
        scores: iterable of `nfm_keras.records.Score`.
        name: Function from a `Score` to its name.
    """
    named = {}
    for score in scores:
        named.setdefault(name(score), []).append(score)
    return {name: merge((), same)[-1] for name, same in named.items()}


def varying(settings):
    """Returns the keys that do not have the same value everywhere, as a set.

    Args:
        settings: iterable of dicts of JSON values; what is missing is None.

    Example:

    >>> varying([{"steps": 7, "norm": "linf"}, {"steps": 20, "norm": "linf"}])
    {'steps'}
    """
    settings = list(settings)
    return {
        key
        for key in set().union(*settings)
        if len({json.dumps(values.get(key)) for values in settings}) > 1
    }


def labelled(name, settings):
    """Returns a name with settings behind it.

    Example:

    >>> labelled("nfm", {"alpha": 0.2}), labelled("nfm", {})
    ('nfm (alpha=0.2)', 'nfm')
    """
    inner = ", ".join(f"{key}={value}" for key, value in settings.items())
    return f"{name} ({inner})" if inner else name


def _settings(score):
    """An attack's settings, its step size as the reach of all steps, in epsilons.

    The step size itself grows with epsilon: each severity would be its own curve.
    """
    settings = dict(score.settings)
    if "step_size" in settings and score.severity:
        reach = settings.pop("step_size") * settings.get("steps", 1) / score.severity
        settings["reach"] = round(reach, 4)
    return settings
