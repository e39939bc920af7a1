"""How fast PGD and APGD are: against their floor, foolbox and ART, in one run.

    python -m benchmarks.attack --output=benchmarks/attack.json

The bars, on one compiled network and the same images:

* a step of PGD (one forward pass, one input gradient, the move, the projection) takes
  at most 1.15 times two forward passes of the network;
* a step of PGD and one of APGD take at most 1.03 times the same step on Keras'
  cross-entropy and without a look at the gradient (`bare`); and that look alone takes
  at most 0.03 of the bare step, which shows more on a busy machine;
* images a second are at least 3 times those of foolbox's `LinfPGD`, and at least twice
  those of the Adversarial Robustness Toolbox (ART), PGD against its
  `ProjectedGradientDescentTensorFlowV2` and APGD on the cross-entropy against its
  `AutoProjectedGradientDescent`, all with one random start and the same steps. `equal
  work`: early stopping off, so that both compute the same number of gradients. `early
  stop`: as the attack runs by default; how much it saves depends on how soon the
  network breaks. The network is untrained unless --model names a trained one. The
  labels are the network's own predictions, so that no image is broken before the attack
  starts;
* of an APGD on batches of 250, at least 85 % of the time is the model's: as many bare
  forward and backward passes, compiled, take that share of it.

Each repeat times every contender, one after the other, and the ratios are taken within
a repeat: what else the machine does hits both sides. Reported: median ratio, and the
smallest and largest, in wall-clock time and in processor time of this process; on a
busy machine only the second is steady.
"""

import functools
import statistics

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import attacks, data, networks, remove_sites
from nfm_keras.attacks import apgd, balls, pgd
from nfm_keras.backend import ascent, gradients
from nfm_keras.backend.classifier import PlainClassifier

_NETWORK = flags.DEFINE_string("network", "preact_resnet18", "Network to attack.")
_MODEL = flags.DEFINE_string("model", None, "Keras file of a trained one instead.")
_DATASET = flags.DEFINE_string("dataset", "cifar10", "Its data set, with --model.")
_WIDTH = flags.DEFINE_float("width", 0.25, "Its width.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 100, "Images at a time.")
_IMAGES = flags.DEFINE_integer("images", 100, "Images to attack.")
_STEPS = flags.DEFINE_integer("steps", 7, "Steps of PGD.")
_APGD_STEPS = flags.DEFINE_integer("apgd_steps", 20, "Steps of APGD.")
_EPSILON = flags.DEFINE_float("epsilon", 8 / 255, "Radius, in [0,1] pixels.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Paired repeats.")
_RIVALS = flags.DEFINE_bool("rivals", True, "Whether to time foolbox and ART.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

BARS = {
    "step_to_two_forward": "<= 1.15",
    "step_to_bare_step": "<= 1.03",
    "apgd_step_to_bare_step": "<= 1.03",
    "look_to_bare_step": "<= 0.03",
    "foolbox_to_equal_work": ">= 3",
    "foolbox_to_early_stop": ">= 3",
    "art_to_equal_work": ">= 2",
    "art_to_early_stop": ">= 2",
    "art_apgd_to_equal_work": ">= 2",
    "art_apgd_to_early_stop": ">= 2",
    "apgd_share_of_the_model": ">= 0.85",
}
PAIRS = {
    "step_to_two_forward": ("one PGD step", "two forward passes"),
    "step_to_bare_step": ("one PGD step", "one bare PGD step"),
    "apgd_step_to_bare_step": ("one APGD step", "one bare APGD step"),
    "look_to_bare_step": ("a look at the gradient", "one bare PGD step"),
    "foolbox_to_equal_work": ("foolbox", "ours, equal work"),
    "foolbox_to_early_stop": ("foolbox", "ours, early stop"),
    "art_to_equal_work": ("ART", "ours, equal work"),
    "art_to_early_stop": ("ART", "ours, early stop"),
    "art_apgd_to_equal_work": ("ART APGD", "our APGD, equal work"),
    "art_apgd_to_early_stop": ("ART APGD", "our APGD, early stop"),
    "apgd_share_of_the_model": ("bare passes of APGD", "our APGD, batch of 250"),
}
SETTINGS = (
    *("network", "model", "dataset", "width", "batch_size"),
    *("images", "steps", "apgd_steps", "epsilon", "repeats"),
)
FLOOR = ("two forward passes", "one PGD step", "one bare PGD step")
FLOOR += ("one APGD step", "one bare APGD step", "a look at the gradient")
RIVALS = (
    *("foolbox", "ART", "ours, equal work", "ours, early stop"),
    *("ART APGD", "our APGD, equal work", "our APGD, early stop"),
)
SHARE = ("bare passes of APGD", "our APGD, batch of 250")


def contenders(network, images):
    """Name -> function to time, all on the same network and images."""
    plain = PlainClassifier(network)
    labels = keras.ops.convert_to_numpy(network.predict(images, verbose=0)).argmax(1)
    functions = dict(zip(FLOOR, floor(plain, images, labels), strict=True))
    if not _RIVALS.value:
        return functions
    found = rivals(network, plain, images, labels)
    return functions | dict(zip(RIVALS + SHARE, found, strict=True))


def floor(plain, images, labels):
    """Single steps of PGD and APGD, with the guards and without, as functions."""
    size = _BATCH_SIZE.value
    batch, labels = images[:size], labels[:size].astype("int32")
    settings = (np.float32(_EPSILON.value), np.float32(_EPSILON.value / 4))
    none, ones = np.zeros(size, "float32"), np.ones(size, bool)
    state = (batch, batch, batch, labels, labels, batch, batch)
    state += (none, none, none, none, ones, none + settings[0])
    move = plain.compiled(apgd.MOVES["linf"])
    look = plain.compiled(lambda _, gradient: ascent.checked(gradient))
    limits = (none, ~ones, settings[0], np.float32(0.75), np.float32(-np.inf))

    def forward_twice():
        for _ in range(2):
            np.asarray(plain.logits(batch))

    def pgd_step(step):
        found = step(batch, batch, labels, *settings)
        np.asarray(found[0]), np.asarray(found[1])

    def apgd_step(evaluate):
        found = evaluate(batch, labels, labels)
        moved = move(found[0], found[1], *limits, *state)
        np.asarray(moved[0]), np.asarray(found[2])

    return (
        forward_twice,
        functools.partial(pgd_step, plain.compiled(pgd.STEPS["linf"])),
        functools.partial(pgd_step, plain.compiled(_bare_step)),
        functools.partial(apgd_step, plain.compiled(apgd.EVALUATIONS["ce"])),
        functools.partial(apgd_step, plain.compiled(_bare_pass)),
        lambda: np.asarray(look(batch)[1]),
    )


def _bare_pass(classifier, points, labels, targets):
    """Keras' cross-entropy, its gradient, and the logits."""

    def loss(points):
        logits = classifier(points)
        losses = keras.ops.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )
        return losses, logits

    values, logits, gradient = gradients.value_and_grad(loss)(points)
    return values, gradient, logits


def _bare_step(classifier, points, images, labels, epsilon, step_size):
    _, gradient, logits = _bare_pass(classifier, points, labels, labels)
    moved = points + step_size * keras.ops.sign(gradient)
    return balls.into_ball(moved, images, epsilon, "linf"), logits


def rivals(network, plain, images, labels):
    """Whole attacks, others' and ours, and the model's share of ours, as functions."""
    import foolbox
    import tensorflow as tf

    size = _BATCH_SIZE.value
    early = attacks.PGD(_EPSILON.value, steps=_STEPS.value)
    equal = attacks.PGD(_EPSILON.value, steps=_STEPS.value, early_stop=False)
    theirs = foolbox.attacks.LinfPGD(
        abs_stepsize=early.step_size, steps=_STEPS.value, random_start=True
    )
    model = foolbox.TensorFlowModel(network, bounds=(0, 1))

    def foolbox_pgd():
        for first in range(0, len(images), size):
            at = slice(first, first + size)
            pair = tf.constant(images[at]), tf.constant(labels[at])
            theirs(model, *pair, epsilons=_EPSILON.value)[1].numpy()

    return (
        foolbox_pgd,
        art(network, images, labels, "pgd"),
        lambda: equal(plain, images, labels, batch_size=size),
        lambda: early(plain, images, labels, batch_size=size),
        art(network, images, labels, "apgd"),
        *auto_pgd(plain, images, labels),
        *model_share(plain, images, labels),
    )


def art(network, images, labels, name):
    """ART's PGD or APGD on the network, as a function to time."""
    import tensorflow as tf
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    estimator = TensorFlowV2Classifier(
        model=network,
        nb_classes=network.output_shape[-1],
        input_shape=images.shape[1:],
        loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )
    shared = {"norm": np.inf, "eps": _EPSILON.value, "verbose": False}
    shared["batch_size"] = _BATCH_SIZE.value
    if name == "pgd":
        step_size = attacks.PGD(_EPSILON.value, steps=_STEPS.value).step_size
        attack = evasion.ProjectedGradientDescentTensorFlowV2(
            estimator,
            eps_step=step_size,
            max_iter=_STEPS.value,
            num_random_init=1,
            **shared,
        )
    else:
        attack = evasion.AutoProjectedGradientDescent(
            estimator,
            eps_step=2 * _EPSILON.value,
            max_iter=_APGD_STEPS.value,
            nb_random_init=1,
            **shared,
        )
    return lambda: attack.generate(images, labels)


def auto_pgd(plain, images, labels):
    """Our APGD with equal work and with early stopping, as functions to time."""
    size = _BATCH_SIZE.value
    for early_stop in (False, True):
        attack = attacks.APGD(
            _EPSILON.value, steps=_APGD_STEPS.value, early_stop=early_stop
        )
        yield functools.partial(attack, plain, images, labels, batch_size=size)


def model_share(plain, images, labels):
    """The passes of an APGD on 250 images without the rest of it, and the APGD."""
    images = np.resize(images, (250, *images.shape[1:]))
    labels = np.resize(labels, 250).astype("int32")
    evaluate = plain.compiled(apgd.EVALUATIONS["ce"])
    attack = attacks.APGD(_EPSILON.value, steps=10, early_stop=False)

    def passes():
        np.asarray(plain.logits(images))
        for _ in range(attack.steps + 1):
            found = evaluate(images, labels, labels)
        np.asarray(found[0])

    return passes, functools.partial(attack, plain, images, labels, batch_size=250)


def subject():
    """The network and the images to attack."""
    if _MODEL.value:
        images = data.load(_DATASET.value).test.images[: _IMAGES.value]
        images = images.astype("float32") / 255
        return keras.saving.load_model(_MODEL.value), images
    shape = (32, 32, 3)
    network = networks.build(_NETWORK.value, shape, 10, width=_WIDTH.value)
    images = np.random.default_rng(0).random((_IMAGES.value, *shape), "float32")
    return remove_sites(network), images


def measure():
    """The report: settings, times, ratios and the machine."""
    network, images = subject()
    functions = contenders(network, images)
    for function in functions.values():  # compile, fill caches
        function()
    times = {name: [] for name in functions}
    for _ in range(_REPEATS.value):
        for name in (*FLOOR * 3, *list(functions)[len(FLOOR) :]):  # short ones oftener
            times[name].append(timing.seconds(functions[name]))
    pairs = {name: pair for name, pair in PAIRS.items() if set(pair) <= set(times)}
    return {
        **timing.header("benchmarks.attack", SETTINGS),
        "seconds": times,
        **{name: timing.ratios(times[a], times[b]) for name, (a, b) in pairs.items()},
        "bars": {name: BARS[name] for name in pairs},
    }


def table(report):
    """The report as lines of text."""
    lines = [f"{report['settings']}", f"{report['hardware']}"]
    for name, times in report["seconds"].items():
        wall = [both["wall"] for both in times]
        rate = f"{_IMAGES.value / statistics.median(wall):10.1f} images/s"
        spread = f"[{min(wall):.3f}, {max(wall):.3f}]"
        rate = rate if name in RIVALS else ""
        lines.append(f"{name:<22} {statistics.median(wall):8.3f} s {spread} {rate}")
    for name, bar in report["bars"].items():
        for clock, values in report[name].items():
            spread = f"{timing.spread(values, 3)} n={values['n']}"
            lines.append(f"{name:<23} {clock:<10} {spread}  bar {bar}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
