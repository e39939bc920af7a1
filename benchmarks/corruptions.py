"""How fast the common corruptions are, against imagecorruptions, in one run.

    python -m benchmarks.corruptions --output=benchmarks/records/corruptions.json

Three bars, in processor time, on the test images of CIFAR-10:

* all 95 sets (19 corruptions at 5 severities, constants of CIFAR-10-C) of 10,000 images
  take at most 180 CPU-seconds;
* images a CPU-second over all 95 sets are at least 10 times those of
  `imagecorruptions`, which corrupts one image at a time. `without frost`: the same over
  the other 90, since the rival decodes a photograph for every image it frosts;
* for glass blur at least 40 times those of the published walk over the pixels in plain
  Python. `imagecorruptions` compiles that walk with Numba; the table has it too.

The ratios are taken with the constants of ImageNet-C, the only ones that the rival has,
on the same first --rival_images images, set by set: what else the machine does hits
both sides. Reported: all of theirs over all of ours. Each side has run every set once
on a few images before: what is compiled or read once is not measured.
"""

import time

import numpy as np
from absl import app, flags
from scipy import ndimage

from benchmarks import timing
from nfm_keras import corruptions, data
from nfm_keras.corruptions.constants import IMAGENET

_IMAGES = flags.DEFINE_integer("images", 10_000, "Images of each of the 95 sets.")
_RIVAL_IMAGES = flags.DEFINE_integer("rival_images", 256, "Images of each ratio.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

BARS = {
    "seconds_of_95_sets": "<= 180",
    "rival_to_ours": ">= 10",
    "plain_to_ours_glass_blur": ">= 40",
}
SETTINGS = ("images", "rival_images", "seed")
WARM, PLAIN = 4, 10


def all_sets(images):
    """Kind -> CPU-seconds of each severity, over all images."""
    times = {}
    for kind in corruptions.NAMES:
        times[kind] = []
        for severity in corruptions.SEVERITIES:
            corruption = corruptions.Corruption(kind, severity, "cifar")
            corruption(images[:WARM])
            times[kind].append(processor(ours(corruption, images)))
    return times


def against_rival(images):
    """Kind -> CPU-seconds of both sides, over all severities."""
    import imagecorruptions

    def theirs(kind, severity, images):
        return lambda: [
            imagecorruptions.corrupt(image, severity, kind) for image in images
        ]

    times = {}
    for kind in corruptions.NAMES:
        times[kind] = {"ours": 0.0, "rival": 0.0}
        for severity in corruptions.SEVERITIES:
            corruption = corruptions.Corruption(kind, severity, "imagenet", jpeg=False)
            sides = {"ours": ours(corruption, images)}
            sides["rival"] = theirs(kind, severity, images)
            ours(corruption, images[:WARM])(), theirs(kind, severity, images[:WARM])()
            for side, function in sides.items():
                times[kind][side] += processor(function)
    return times


def plain_glass_blur(images):
    """CPU-seconds an image, over all severities, of the walk in plain Python."""
    random = np.random.default_rng(_SEED.value)

    def blurred(image, sigma):
        return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")

    def corrupt(image, sigma, reach, rounds):
        image = np.uint8(blurred(image / 255.0, sigma) * 255)
        for _ in range(rounds):
            for row in range(len(image) - reach, reach, -1):
                for column in range(len(image) - reach, reach, -1):
                    across, down = random.integers(-reach, reach, 2)
                    image[row, column] = image[row + down, column + across]
        return np.uint8(np.clip(blurred(image / 255.0, sigma), 0, 1) * 255)

    def every():
        for setting in IMAGENET["glass_blur"]:
            for image in images:
                corrupt(image, *setting)

    return processor(every) / len(images)


def ours(corruption, images):
    """A function to time."""
    return lambda: corruption(images, seed=_SEED.value)


def processor(function):
    """CPU-seconds of one call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def measure():
    """The report: settings, times, ratios, bars and the machine."""
    images = np.ascontiguousarray(data.load("cifar10").test.images[: _IMAGES.value])
    few = images[: _RIVAL_IMAGES.value]
    report = timing.header("benchmarks.corruptions", SETTINGS)
    sets, pairs = all_sets(images), against_rival(few)
    plain = plain_glass_blur(few[:PLAIN])
    count, total = len(corruptions.NAMES) * len(corruptions.SEVERITIES), sum_of(sets)
    names = [kind for kind in pairs if kind != "frost"]
    return {
        **report,
        "frost": corruptions.frost_source()[0],
        "seconds": sets,
        "seconds_of_95_sets": total,
        "images_a_second": count * len(images) / total,
        "seconds_against_rival": pairs,
        "rival_images_a_second": count * len(few) / summed(pairs, pairs, "rival"),
        "rival_to_ours": ratio(pairs, pairs),
        "rival_to_ours_without_frost": ratio(pairs, names),
        "rival_to_ours_by_kind": {kind: ratio(pairs, [kind]) for kind in pairs},
        "plain_to_ours_glass_blur": plain * len(few) / pairs["glass_blur"]["ours"],
        "bars": BARS,
    }


def sum_of(sets):
    """CPU-seconds of all sets."""
    return sum(sum(seconds) for seconds in sets.values())


def summed(pairs, kinds, side):
    """CPU-seconds of one side over some of the corruptions."""
    return sum(pairs[kind][side] for kind in kinds)


def ratio(pairs, kinds):
    """Rival's over our CPU-seconds."""
    return summed(pairs, kinds, "rival") / summed(pairs, kinds, "ours")


def table(report):
    """The report as lines of text."""
    lines = [f"{report['settings']}", f"{report['hardware']}"]
    lines.append(
        f"{'CPU-seconds at severity':<24}" + "".join(f"{s:8}" for s in range(1, 6))
    )
    for kind, seconds in report["seconds"].items():
        row = "".join(f"{second:8.2f}" for second in seconds)
        lines.append(f"{kind:<24}{row}  {report['rival_to_ours_by_kind'][kind]:8.1f} x")
    lines.append(
        f"{report['images_a_second']:.0f} images a CPU-second, rival "
        f"{report['rival_images_a_second']:.0f}; without frost "
        f"{report['rival_to_ours_without_frost']:.1f} times"
    )
    lines += [
        f"{name:<26} {report[name]:8.1f}  bar {bar}" for name, bar in BARS.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
