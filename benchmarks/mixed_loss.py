"""How long a step takes whose loss is a sum of two, over one of twice the batch.

    python -m benchmarks.mixed_loss --output=benchmarks/records/mixed_loss.json

The loss of integer labels is `lam * loss(y) + (1 - lam) * loss(y[partner])`. Before, it
was that of twice the batch with lam and 1 - lam as sample weights, which was wrong for
losses that return a scalar or one value an image. Both train PreActResNet-18 at width
0.25 with `nfm` on one batch of 128 CIFAR-sized images, with cross-entropy and accuracy,
through the function that `fit` calls; they take steps of the same draw in turn, in an
order drawn anew each time, and the ratios are of a round of `--steps` steps.

What to expect on a CPU, in a graph: at most 1.01 of the wall-clock time. The record is
of a busy machine: 0.97 [0.77, 1.25], of processor time 1.01 [0.87, 1.16].
"""

import random

import keras
import numpy as np
from absl import app, flags
from keras import ops

import nfm_keras as nfm
from benchmarks import timing
from nfm_keras import networks
from nfm_keras.backend import keras_compiled
from nfm_keras.mixing import schemes
from nfm_keras.mixing.scope import current_scope

_WIDTH = flags.DEFINE_float("width", 0.25, "Width of the network.")
_ROUNDS = flags.DEFINE_integer("rounds", 15, "Rounds of each mode.")
_STEPS = flags.DEFINE_integer("steps", 4, "Steps of each contender in a round.")
_MODES = flags.DEFINE_list("modes", ["graph", "xla"], "graph, xla")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
BAR, BATCH = 1.01, 128


class TwiceTheBatch(nfm.NFMModel):
    """What was before: of class numbers, one lam a batch, a loss that is a mean."""

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        labels, outputs, weights = _twice(y, y_pred)
        return keras.Model.compute_loss(self, x, labels, outputs, 2 * weights)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        metrics = keras_compiled.compiled_metrics(self)
        if not metrics.built:
            metrics.build(y, y_pred)
        labels, outputs, weights = _twice(y, y_pred)
        rows = keras_compiled.flat_metrics(metrics, False, labels, outputs, weights)
        for metric, *values in rows:
            metric.update_state(*values)
        return self.get_metrics_result()


def _twice(labels, outputs):
    """A batch with its own labels, then with those of its partners, and weights."""
    draw = current_scope().draw
    partner = ops.take(labels, draw.partner, axis=0)
    lam = ops.broadcast_to(draw.lam, (ops.shape(outputs)[0],))
    return tuple(
        ops.concatenate(both)
        for both in ((labels, partner), (outputs, outputs), (lam, 1 - lam))
    )


def trainer(kind, mode):
    """A function that takes a step and waits for it, of a model of a kind."""
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    network = networks.build("preact_resnet18", (32, 32, 3), 10, _WIDTH.value)
    model = kind(
        network,
        schemes.mixing("nfm", nfm.find_sites(network)),
        preprocess=keras.layers.Rescaling(1 / 255),
    )
    model.compile(
        keras.optimizers.SGD(0.01, 0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=mode == "xla",
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8)
    batch = images, rng.integers(0, 10, BATCH)
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    model.make_train_function()
    return lambda: float(model.train_function(batches)["loss"])


def measure_mode(mode):
    """Readings of each contender, rounds in turn, and the ratio of the two."""
    kinds = {"sum of two": nfm.NFMModel, "twice the batch": TwiceTheBatch}
    steps = {name: trainer(kind, mode) for name, kind in kinds.items()}
    rng, rounds = random.Random(0), {name: [] for name in steps}
    first = {name: step() for name, step in steps.items()}
    for _ in range(_ROUNDS.value):
        times = {name: [] for name in steps}
        for _ in range(_STEPS.value):
            for name in rng.sample(list(steps), len(steps)):
                times[name].append(timing.seconds(steps[name]))
        for name, found in times.items():
            rounds[name].append(timing.total(found))
    return {
        "mode": mode,
        "first_loss": first,
        "round": {name: timing.summaries(found) for name, found in rounds.items()},
        "ratio": timing.ratios(*rounds.values()),
    }


def measure():
    """The report: a case for each mode."""
    names = ("width", "rounds", "steps", "modes")
    cases = [measure_mode(mode) for mode in _MODES.value]
    return timing.header("benchmarks.mixed_loss", names) | {"cases": cases}


def table(report):
    """The report as text."""
    lines = [f"{report['command']}\n{report['hardware']}"]
    for case in report["cases"]:
        ratios = (f"{c} {timing.spread(case['ratio'][c], 3)}" for c in timing.CLOCKS)
        losses = ", ".join(f"{loss:.6f}" for loss in case["first_loss"].values())
        lines.append(f"{case['mode']}: {', '.join(ratios)}, bar {BAR}; losses {losses}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
