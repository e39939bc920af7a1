"""What there is to say of each network without building it."""

import gc
import json
import pathlib
import re
from typing import NamedTuple

from nfm_keras.networks import catalogue
from nfm_keras.table import Table, Text

_KEPT = pathlib.Path(__file__).with_name("listing.json")
_PHOTOGRAPHS = re.compile(r"resnet50|resnet101|vit_s16|.*/.*")
_SIDES = {"applications/nasnet_large": 331}


class NetworkFigures(NamedTuple):
    """A network, as it is listed.

    Attributes:
        name: What `networks.build` takes.
        side: Side of the images that it was built for, in pixels.
        classes: Number of logits.
        parameters: How many numbers its weights are.
        sites: Names of its sites.
        least: The smallest side that it takes, in pixels; None if it does not say.
    """

    name: str
    side: int
    classes: int
    parameters: int
    sites: tuple[str, ...]
    least: int | None


def published_figures() -> list[NetworkFigures]:
    """Returns the figures that the package keeps of the networks, without keras-hub's.

    Of networks as published: images of 32 or 224 pixels, 10 or 1,000 classes.
    """
    rows = json.loads(_KEPT.read_text(encoding="utf-8"))
    return [NetworkFigures(**{**row, "sites": tuple(row["sites"])}) for row in rows]


def network_figures(
    name: str, side: int | None = None, classes: int | None = None
) -> NetworkFigures:
    """Builds a network, and returns the figures.

    Args:
        name: As in `networks.build`.
        side: Side of the images, in pixels; by default the published one.
        classes: Number of logits; likewise.

    Raises:
        ValueError: For an unknown name, or images that it cannot take.
    """
    from nfm_keras.mixing.sites import find_sites

    photographs = _PHOTOGRAPHS.fullmatch(name)
    side = side or _SIDES.get(name, 224 if photographs else 32)
    classes = classes or (1000 if photographs else 10)
    shape = (2,) if name == "mlp" else (side, side, 3)
    model = catalogue.build(name, shape, classes)
    sites = tuple(find_sites(model))
    row = NetworkFigures(name, side, classes, model.count_params(), sites, _least(name))
    del model
    gc.collect()  # some are gigabytes
    return row


def figures_table(rows: list[NetworkFigures]) -> Table:
    """Returns a table of networks.

    Args:
        rows: List of `NetworkFigures`.
    """
    header = "network", "weights", "sites", "image", "least image", "classes"
    return Table(
        header,
        [
            [
                Text(row.name, style="code"),
                f"{row.parameters:,}",
                len(row.sites),
                row.side,
                row.least,
                row.classes,
            ]
            for row in rows
        ],
        align="lr",
    )


def _least(name):
    """What a network says of images of one pixel."""
    if name == "mlp":
        return None
    try:
        catalogue.build(name, (1, 1, 3), 2)
    except ValueError as error:
        sides = re.findall(r"at least (\d+)|(\d+) pixels a side", str(error))
        return int("".join(sides[0])) if sides else None
    return None
