"""Lists the networks by name: weights, sites, and the images that they take.

    python -m apps.networks
    python -m apps.networks --names=keras_cv/resnet18_v2 --image_size=64 --classes=10

prints a table of all, or of those named. The figures are those of the networks as
published; with `--image_size` or `--classes` the networks named are built for such
images, seconds for each, and the names of their sites are printed too.
"""

from absl import app, flags

from nfm_keras import networks, records
from nfm_keras.checks import unknown

from .start import start

_NAMES = flags.DEFINE_list("names", None, "Which networks; by default all.")
_SIDE = flags.DEFINE_integer(
    "image_size", None, "Side of images to build for, in pixels.", lower_bound=1
)
_CLASSES = flags.DEFINE_integer(
    "classes", None, "Number of classes to build for.", lower_bound=1
)
_WRITE = flags.DEFINE_string(
    "write", None, "Build the networks, and write their figures to this JSON file."
)
flags.register_multi_flags_validator(
    ["names", "image_size", "classes"],
    lambda given: given["names"] or not (given["image_size"] or given["classes"]),
    "--image_size and --classes are of the networks that --names names",
)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    if _WRITE.value:
        rows = [networks.network_figures(name) for name in _NAMES.value or _ours()]
        records.write_json(_WRITE.value, [row._asdict() for row in rows])
    elif _SIDE.value or _CLASSES.value:
        rows = [
            networks.network_figures(name, _SIDE.value, _CLASSES.value)
            for name in _NAMES.value
        ]
    else:
        rows = networks.published_figures()
        if _NAMES.value:
            rows = [_named(name, rows) for name in _NAMES.value]
    print(networks.figures_table(rows).to_markdown(), end="")
    if _NAMES.value:
        for row in rows:
            print(f"\nSites of {row.name}:", *row.sites, sep="\n  ")


def _ours():
    """Those whose figures the package keeps: keras-hub is too large to ask for."""
    return [name for name in networks.names() if not name.startswith("keras_hub/")]


def _named(name, rows):
    found = [row for row in rows if row.name == name]
    if not found and name not in networks.names():
        raise unknown("network", name, networks.names())
    return found[0] if found else networks.network_figures(name)


def run():
    """The command `nfm-networks`."""
    start(main)


if __name__ == "__main__":
    run()
