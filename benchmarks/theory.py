"""How long the theory's terms take, and what logging smoothness costs a run.

    python -m benchmarks.theory --output=benchmarks/records/theory.json

R2 and R3 of mixing and of both noises, at one site of PreActResNet-18 at width 0.25, on
random CIFAR-sized images: seconds for `--images` of them; for half of them and for
twice the probes, which says whether the cost is linear; the peak memory after each
and the images a second beside the same terms written with nested tapes,
an image at a time, on `--slow_images` of them. That one is TensorFlow's. This network
is piecewise linear behind the site: its Hessians are 0, and TensorFlow sees that they
are, so that more probes cost nothing. With `--method=finite` R3 is by steps.

Then the seconds of `SmoothnessLogger` with its 64 images and two probes at the end of
an epoch, all four sites, over those of an epoch of CIFAR-10, which is 391 steps of the
batch that is timed here: a share for `smoothness_every=5`.
"""

import resource
import time

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import NFMModel, networks
from nfm_keras.mixing import find_sites, schemes
from nfm_keras.theory import SmoothnessLogger, Split, regularizers

_WIDTH = flags.DEFINE_float("width", 0.25, "Width of the network.")
_IMAGES = flags.DEFINE_integer("images", 256, "Images of the terms.")
_SLOW = flags.DEFINE_integer("slow_images", 4, "Images of the nested tapes.")
_SITE = flags.DEFINE_string("site", "site_1", "Where the terms are taken.")
_STEPS = flags.DEFINE_integer("steps", 6, "Steps of training that are timed.")
_METHOD = flags.DEFINE_enum(
    "method", "estimate", ["estimate", "finite"], "How R3 is taken."
)
_CALLBACK = flags.DEFINE_bool("callback", True, "Whether the callback is timed.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
BAR, TIMES, SHARE = 60.0, 5.0, 2.0
BATCH, EPOCH, EVERY, EPOCHS = 128, 391, 5, 30


def network():
    keras.utils.set_random_seed(0)
    return networks.build("preact_resnet18", (32, 32, 3), 10, _WIDTH.value)


def examples(count):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(count, 32, 32, 3)).astype("float32")
    return images, np.arange(count) % 10


def terms(split, count, probes=2):
    """`(readings, peak memory in MiB, Regularizers)` of so many images."""
    given = examples(count)
    found = []
    reading = timing.seconds(
        lambda: found.append(
            regularizers(split, None, *given, probes=probes, method=_METHOD.value)
        )
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return reading, peak, found[0]


def nested(model, site, count, probes=2):
    """Readings of the same terms by tapes in tapes, an image at a time."""
    import tensorflow as tf

    split = Split(model, site)
    images, labels = examples(count)
    features = split.features(images).astype("float32").reshape(-1, *split.shape)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=features.shape)

    def one(g, label, u):
        g = tf.constant(g[None])
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(g)
            with tf.GradientTape(persistent=True) as inner:
                inner.watch(g)
                logits = split.after(g, training=False)
                parts = [logits[:, c] for c in range(logits.shape[-1])]
            rows = [inner.gradient(part, g) for part in parts]
            p = tf.nn.softmax(logits)
            weights = tf.unstack(tf.stop_gradient(p - tf.one_hot([label], 10))[0])
            slopes = [tf.reduce_sum(w * r * u) for w, r in zip(weights, rows)]
            total = tf.add_n(slopes)
        return rows, outer.gradient(total, g)

    def all_images():
        for g, label, u in zip(features, labels, signs.astype("float32")):
            for _ in range(3 * probes):  # mixing and both noises
                one(g, int(label), u[None])

    return timing.seconds(all_images)


def logged():
    """Seconds of the callback, the first time and later, and those of a step."""
    base = network()
    model = NFMModel(
        base,
        schemes.mixing("nfm", find_sites(base)),
        preprocess=keras.layers.Rescaling(1 / 255),
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, 0.9), loss, metrics=["accuracy"])
    images, labels = examples(BATCH)
    batch = (255 * images).astype("uint8"), labels
    model.fit(*batch, BATCH, verbose=0)
    images, labels = (
        np.tile(part, (_STEPS.value, *[1] * (part.ndim - 1))) for part in batch
    )
    steps = timing.seconds(lambda: model.fit(images, labels, BATCH, verbose=0))
    logger = SmoothnessLogger(*examples(64), every=1)
    logger.set_model(model)
    logger.on_train_begin()
    calls = [timing.seconds(lambda: logger.on_epoch_end(0, {})) for _ in range(2)]
    return calls, {clock: value / _STEPS.value for clock, value in steps.items()}


def measure():
    """The report."""
    model, count = network(), _IMAGES.value
    split = Split(model, _SITE.value)
    begun = time.perf_counter()
    terms(split, 64)
    compiled = time.perf_counter() - begun
    whole, peak, found = terms(split, count)
    half, half_peak, _ = terms(split, count // 2)
    more, more_peak, _ = terms(split, count, probes=4)
    slow = nested(model, _SITE.value, _SLOW.value)
    names = "width", "images", "slow_images", "site", "steps", "method", "callback"
    return timing.header("benchmarks.theory", names) | {
        "features": int(np.prod(split.shape)),
        "seconds": whole,
        "seconds_to_compile_and_64_images": compiled,
        "half_the_images": half,
        "twice_the_probes": more,
        "peak_mib": {"half": half_peak, "whole": peak, "twice the probes": more_peak},
        "nested": slow,
        "times_nested": {
            clock: (slow[clock] / _SLOW.value) / (whole[clock] / count)
            for clock in timing.CLOCKS
        },
        "r2_add": list(found.r2_add),
        "r3_add": list(found.r3_add),
        **(shares() if _CALLBACK.value else {}),
    }


def shares():
    """Seconds of the callback and of a step, and the share of a run of 30 epochs."""
    calls, step = logged()
    later, share = calls[1:], {}
    for clock in timing.CLOCKS:
        after = sum(call[clock] for call in later) / len(later)
        run = calls[0][clock] + after * (EPOCHS // EVERY - 1)
        share[clock] = 100 * run / (EPOCHS * EPOCH * step[clock])
    return {
        "callback": {"first": calls[0], "later": later, "step": step},
        "callback_percent_of_a_run": share,
    }


def table(report):
    """The report as text."""
    lines = [f"{report['command']}\n{report['hardware']}"]
    for clock in timing.CLOCKS:
        whole, half = report["seconds"][clock], report["half_the_images"][clock]
        more = report["twice_the_probes"][clock]
        lines.append(
            f"{clock}: {whole:.1f} s for {report['settings']['images']} images (bar "
            f"{BAR:g} for 256), {whole / half:.2f} times half the images, "
            f"{more / whole:.2f} with twice the probes; "
            f"{report['times_nested'][clock]:.1f} times nested tapes (bar {TIMES:g})"
        )
        if "callback" in report:
            lines.append(
                f"the callback {report['callback_percent_of_a_run'][clock]:.2f} % of "
                f"{EPOCHS} epochs (bar {SHARE:g})"
            )
    lines.append(f"peak MiB: {report['peak_mib']}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
