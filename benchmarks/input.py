"""How fast the input pipeline is: augmented CIFAR images a second, in one run.

    python -m benchmarks.input --output=benchmarks/input.json

Shuffled batches of 128 images of 32x32, padded by 4, cropped at random for each image
and mirrored half of the time, made three ways:

* `batches`: `nfm_keras.data.batches`, which gathers a whole batch at once; uint8;
* `an image at a time`: pad, `tf.image.random_crop` and `random_flip_left_right` in
  `Dataset.map`, then `batch`; uint8;
* `keras layers`: `RandomCrop` in `Dataset.map`, since on a batch it crops all images
  alike, then `batch` and `RandomFlip`; these layers give float32.

The bar: `batches` makes at least 45,000 images a CPU-second. That counts the seconds of
all threads, and is the number to compare, for the same cores also train. The three take
turns, in an order drawn anew for each repeat, and ratios are taken within a repeat. The
images are CIFAR-10's if it is prepared (`--data_dir`), else random ones.
Takes about two minutes on 2 idle cores.
"""

import random
import time

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import data

OURS = "batches"
BAR = 45_000

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
_BATCHES = flags.DEFINE_integer("batches", 391, "Batches in a repeat.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Paired repeats.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

SETTINGS = ("batch_size", "batches", "repeats")
# Of tf.data, for all three; `data.batches` has its own: 2 and 4.
THREADS, AHEAD, SHUFFLED = 2, 4, 10_000


def load():
    """The training images and what they are: CIFAR-10's, or random ones."""
    known = data.spec("cifar10")
    try:
        return data.load("cifar10", _DATA_DIR.value).train, "CIFAR-10"
    except (FileNotFoundError, ImportError):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (50_000, *known.shape), dtype=np.uint8)
        labels = rng.integers(0, known.num_classes, len(images))
        return data.Split(images, labels, known), "random, of CIFAR-10's shape"


def shuffled(split):
    """The usual beginning: single images, shuffled in a buffer."""
    import tensorflow as tf

    images = tf.data.Dataset.from_tensor_slices((split.images, split.labels))
    return images.shuffle(SHUFFLED, seed=0).repeat()


def an_image_at_a_time(split):
    """Crops and mirrors every image by itself, as most tutorials do."""
    import tensorflow as tf

    pad, shape = split.spec.pad, split.spec.shape

    def augment(image, label):
        image = tf.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        image = tf.image.random_crop(image, shape)
        return tf.image.random_flip_left_right(image), label

    images = shuffled(split).map(augment, num_parallel_calls=THREADS)
    return images.batch(_BATCH_SIZE.value).prefetch(AHEAD)


def keras_layers(split):
    """Keras' preprocessing layers, inside tf.data."""
    import tensorflow as tf

    pad, (height, width, _) = split.spec.pad, split.spec.shape
    crop = keras.layers.RandomCrop(height, width, seed=0)
    flip = keras.layers.RandomFlip("horizontal", seed=0)

    def augment(image, label):
        padded = tf.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        return crop(padded, training=True), label

    images = shuffled(split).map(augment, num_parallel_calls=THREADS)
    images = images.batch(_BATCH_SIZE.value).map(
        lambda images, labels: (flip(images, training=True), labels),
        num_parallel_calls=THREADS,
    )
    return images.prefetch(AHEAD)


def pipelines(split):
    """Name -> endless batches."""
    return {
        OURS: data.batches(split, _BATCH_SIZE.value),
        "an image at a time": an_image_at_a_time(split),
        "keras layers": keras_layers(split),
    }


def draw(iterator, count):
    """Takes batches and drops them; returns how many images there were."""
    return sum(len(next(iterator)[0]) for _ in range(count))


def rates(iterators):
    """Name -> images a second by each clock, one entry a repeat."""
    rng, found = random.Random(0), {name: [] for name in iterators}
    for iterator in iterators.values():  # trace, fill the buffers
        draw(iterator, 20)
        time.sleep(0.5)
    for _ in range(_REPEATS.value):
        for name in rng.sample(list(iterators), len(iterators)):
            found[name].append(rate(iterators[name]))
    return found


def rate(iterator):
    """Images a second, by each clock."""
    count = []
    spent = timing.seconds(lambda: count.append(draw(iterator, _BATCHES.value)))
    # The buffers were full when we began: let them fill again at our expense, not at
    # that of the next in turn. Sleeping takes no processor time.
    spent["processor"] += timing.seconds(lambda: time.sleep(0.5))["processor"]
    return {clock: count[0] / seconds for clock, seconds in spent.items()}


def measure():
    """The report: images a second of each way, and ours over the others."""
    split, source = load()
    ways = pipelines(split)
    found = rates({name: iter(way) for name, way in ways.items()})
    return timing.header("benchmarks.input", SETTINGS) | {
        "images": source,
        "dtypes": {name: way.element_spec[0].dtype.name for name, way in ways.items()},
        "images_a_second": {name: timing.summaries(x) for name, x in found.items()},
        "ours_over": {name: timing.ratios(found[OURS], x) for name, x in found.items()},
        "bar": BAR,
    }


def table(report):
    """The report as text."""
    return "\n".join(_lines(report))


def _lines(report):
    yield report["command"]
    yield f"{report['hardware']}, load {report['load_average']:.1f}"
    yield f"images: {report['images']}, n={report['settings']['repeats']} repeats"
    columns = ("images a CPU-second", "a second", "batches over it, CPU")
    yield f"{'':<20}{'dtype':<9}" + "".join(f"{column:<28}" for column in columns)
    for name, values in report["images_a_second"].items():
        clocks = [timing.spread(values[c], 0) for c in ("processor", "wall")]
        over = timing.spread(report["ours_over"][name]["processor"])
        last = f"bar >= {BAR}" if name == OURS else over
        first, second = (f"{text:<28}" for text in clocks)
        yield f"{name:<20}{report['dtypes'][name]:<9}{first}{second}{last}"


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
