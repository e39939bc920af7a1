"""How robust a classifier is: perturbations in, one score each out."""

from nfm_keras.evaluation import plan as suites
from nfm_keras.evaluation import rows
from nfm_keras.evaluation.measure import Corrupted, Measurement
from nfm_keras.records import evaluation as results


def evaluate(
    classifier,
    dataset,
    perturbations=None,
    *,
    suite=None,
    protocol="reference",
    seed=0,
    batch_size=250,
    limit=None,
    attack_limit=None,
    corruption_limit=None,
    attack_settings=None,
    num_classes=None,
    std=None,
    progress=None,
    store=None,
    cache_dir=None,
    official=None,
    frost_dir=None,
    allow_stochastic=False,
    about=None,
):
    """Score a classifier under each of a list of perturbations, or run a suite.

    All randomness is drawn per image from (seed, perturbation, severity, image index),
    so batch size, order and Keras backend do not change what an image meets.

    Args:
        classifier: Keras model, or any callable, from [0,1] images
            `(batch, height, width, channels)` to logits `(batch, classes)`. It is run
            with `training=False` and compiled once.
        dataset: object with `images` (`(n, height, width, channels)`, uint8 or float
            in [0,1]) and `labels` (`(n,)` integers), and perhaps a `spec` with `std`
            and `num_classes`; or a tuple `(images, labels)`.
        perturbations: list of ids (`"clean"`, `"white_noise@0.1"`, `"fog@3"`,
            `"pgd@8/255"`; a bare `"white_noise"`, `"fog"`, `"common_corruptions"` is
            all its severities), `Perturbation`s, `Corruption`s and attacks.
        suite: str instead of `perturbations`: `"quick"`, `"standard"` or `"full"`, a
            list of `nfm_keras.evaluation.plan` with certification and a gradient-masking report.
        protocol: str. `"reference"` or `"pixel"`, for the noises.
        seed: int, of the noises and of the attacks' random starts.
        batch_size: int.
        limit: int. Score the first so many images only.
        attack_limit: int. The same, for attacks.
        corruption_limit: int. The same, for common corruptions.
        attack_settings: dict of `PGD` arguments for the ids that name it, such as
            `{"steps": 20, "restarts": 5}`.
        num_classes: int, by default the data set's.
        std: `(channels,)` of the training set in units of [0,1], by default the data
            set's; white noise in the reference protocol is measured in it.
        progress: function called as `progress(score, left)` with each `Score` as it is
            ready and the seconds that the rest will take, roughly.
        store: path of a JSON file that every finished row is written to at once. Rows
            that are in it already, with the same settings, are not measured again.
        cache_dir: folder that keeps generated corruptions.
        official: folder of official corrupted images, used where it has a corruption
            (`nfm_keras.corruptions.official`).
        frost_dir: folder of frost textures, by default an installed package's.
        allow_stochastic: bool. Accept a classifier that changes between two passes;
            it is attacked by `autoattack` alone, in its version `rand`; a suite leaves
            out its other attacks.
        about: dict of the `model`, `dataset` and `command` to write down.

    Returns:
        `nfm_keras.records.evaluation.Evaluation`: a sequence of `nfm_keras.records.run.Score`, one for
        each perturbation in the same order, with all else that was measured. Accuracies
        are in percent, with Wilson 95 % intervals. The protocol of a score that no
        protocol touches is `"none"`.

    Raises:
        ValueError: unknown perturbation, suite or protocol, bad severity, empty data,
            images out of range or of the wrong size, bad labels, logits that are not
            finite, a classifier that changes between two passes, a store of another
            classifier or other images, no `std` where it is needed. All that can be
            are found before any work; rows that are finished stay in the store.

    Example:

    >>> images = np.full((4, 8, 8, 3), 0.5, "float32")
    >>> def classifier(images):
    ...     return ops.multiply(ops.mean(images, axis=(1, 2)), [1.0, 2.0, 3.0])
    >>> scores = evaluate(classifier, (images, np.full(4, 2)), ["clean", "pgd@0.2"])
    >>> [(score.perturbation, score.value) for score in scores]
    [('clean', 100.0), ('pgd@0.2', 0.0)]
    """
    if (perturbations is None) == (suite is None):
        raise ValueError(
            "Give either `perturbations` or `suite`. "
            f"Received: perturbations={perturbations!r}, suite={suite!r}"
        )
    plan = suites.get(suite) if suite else suites.Suite(perturbations)
    limit = plan.limit if limit is None else limit
    attack_limit = plan.attack_limit if attack_limit is None else attack_limit
    settings = plan.attack_settings | (attack_settings or {})
    todo = rows.expand(plan.perturbations, settings, frost_dir=frost_dir)
    if allow_stochastic:
        todo = rows.for_stochastic(todo, drop=suite is not None)
    run = Measurement(classifier, dataset, protocol, seed, batch_size, num_classes, std)
    run.restrict(limit, attack_limit, corruption_limit)
    run.corrupted = Corrupted(
        run.images[:corruption_limit],
        run.labels[:corruption_limit],
        run.everything,
        seed,
        cache_dir,
        official,
    )
    run.check(todo)
    run.begin(store, suite, about or {}, allow_stochastic)
    run.examine(plan)
    run.measure(todo, progress)
    run.certify(plan)
    run.write()
    return run.found


def merge(scores, new):
    """Old scores with new ones added; a new row replaces the old one it repeats, unless
    that was measured on more images.

    Args:
        scores, new: iterables of `Score`. Rows are the same if perturbation, protocol
            and settings are.

    Returns:
        Tuple of `Score`.

    Example:

    >>> old = Score("clean", 0.0, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {})
    >>> new = Score("clean", 0.0, "none", 100.0, 34.2, 100.0, 2, 2, 0, 0.1, {})
    >>> merge([old], [new]) == (new,)
    True
    """
    old = {results.key(score): score for score in scores}
    for score in new:
        before = old.get(results.key(score))
        if before is None or (before != score and score.n >= before.n):
            old.pop(results.key(score), None)
            old[results.key(score)] = score
    return tuple(old.values())


def line(score, left=None):
    """A score as one line of text.

    Args:
        score: `Score`.
        left: seconds that the rest will take.

    Example:

    >>> line(Score("pgd@8/255", 8 / 255, "none", 50.0, 9.5, 90.5, 2, 1, 0, 0.1, {}))
    'pgd@8/255                      50.00 %  [9.50, 90.50]  n=2  0.1 s'
    """
    name = score.perturbation
    if score.protocol != "none":
        name = f"{name} ({score.protocol})"
    text = (
        f"{name:<28} {score.value:7.2f} %  [{score.low:.2f}, {score.high:.2f}]  "
        f"n={score.n}  {score.seconds:.1f} s"
    )
    if not left:
        return text
    return f"{text}  (about {left / 60:.0f} min left)" if left >= 60 else text
