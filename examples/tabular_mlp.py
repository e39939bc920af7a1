"""A table: an MLP on the breast cancer data of scikit-learn, over several seeds.

    python examples/tabular_mlp.py

The sites come after the `Normalization` layer, so that the noise of the mixing is in
units of a column's standard deviation; before it, the same 0.4 would drown a column
that lives around 0.1 and not touch one that lives around 1000.

It takes about 100 CPU-seconds and prints

    accuracy in percent, mean of 8 seeds, 228 rows each
    noise            0.0     0.5     1.0     2.0
    erm             97.1    95.8    90.8    80.8
    nfm             96.8    95.0    89.6    79.1
    strong          96.3    95.2    92.4    83.7
    gain over erm, 95 % interval of the mean
    nfm-erm        -0.9 +0.3   -1.6 -0.0   -2.5 +0.2   -4.2 +0.7
    strong-erm     -1.9 +0.2   -1.3 +0.2    0.6 +2.5    1.4 +4.3

The paper's defaults are for images: their noise acts like 0.13 of a standard deviation,
and here they gain nothing. Noise of the size that is to be withstood (`strong`, chosen
on other seeds) gains 1.5 and 2.9 points where the noise is large. No row gains on clean
data, and the seeds share one table of 569 rows, so the intervals are about training and
splitting, not about other patients.
"""

import keras
import numpy as np
from absl import app, flags
from scipy import stats
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import nfm_keras as nfm

_SEEDS = flags.DEFINE_integer(
    "seeds", 8, "How many seeds: data split, weights, order.", lower_bound=2
)
_EPOCHS = flags.DEFINE_integer("epochs", 30, "Epochs of a training.", lower_bound=1)

SCHEMES = {
    "erm": nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0),
    "nfm": nfm.Mixing(),
    "strong": nfm.Mixing(sigma_add=1.0, noise="gaussian"),
}
NOISE = 0.0, 0.5, 1.0, 2.0  # in standard deviations of a column


def build(columns):
    normalization = keras.layers.Normalization()
    normalization.adapt(columns)
    inputs = keras.Input(columns.shape[1:])
    x = normalization(inputs)
    x = nfm.NoisyFeatureMixup(name="site_0")(x)
    x = keras.layers.Dense(64, activation="relu")(x)
    x = nfm.NoisyFeatureMixup(name="site_1")(x)
    x = keras.layers.Dense(64, activation="relu")(x)
    x = nfm.NoisyFeatureMixup(name="site_2")(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def train(mixing, columns, labels, seed, epochs):
    keras.utils.set_random_seed(seed)
    model = nfm.NFMModel(build(columns), mixing, seed=seed)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(columns, labels, batch_size=32, epochs=epochs, verbose=0)
    return model.classifier


def accuracies(classifier, columns, labels, seed):
    """Accuracy in percent under each level of white noise."""
    noise = np.random.default_rng(seed).normal(size=columns.shape) * columns.std(axis=0)
    noisy = np.concatenate([columns + level * noise for level in NOISE])
    logits = keras.ops.convert_to_numpy(classifier(noisy))
    right = logits.argmax(1) == np.tile(labels, len(NOISE))
    return 100 * right.reshape(len(NOISE), -1).mean(1)


def main(_):
    columns, labels = load_breast_cancer(return_X_y=True)
    found = {name: [] for name in SCHEMES}
    for seed in range(_SEEDS.value):
        train_x, test_x, train_y, test_y = train_test_split(
            columns, labels, test_size=0.4, stratify=labels, random_state=seed
        )
        for name, mixing in SCHEMES.items():
            classifier = train(mixing, train_x, train_y, seed, _EPOCHS.value)
            found[name].append(accuracies(classifier, test_x, test_y, seed))
    print(f"accuracy in percent, mean of {_SEEDS.value} seeds, {len(test_y)} rows each")
    print(f"{'noise':<12}" + "".join(f"{level:>8}" for level in NOISE))
    for name, rows in found.items():
        print(f"{name:<12}" + "".join(f"{mean:8.1f}" for mean in np.mean(rows, axis=0)))
    # Paired by seed: the same split, the same first weights, the same noise.
    print("gain over erm, 95 % interval of the mean")
    for name in list(SCHEMES)[1:]:
        low, high = stats.ttest_rel(found[name], found["erm"]).confidence_interval()
        ends = map("{:7.1f} {:+.1f}".format, low, high)
        print(f"{name + '-erm':<12}" + "".join(ends))


if __name__ == "__main__":
    app.run(main)
