"""What decoding inside the served model costs a REST request, in one run.

    python -m benchmarks.serving --output=benchmarks/serving.json

A body with 32 PNG files of 32x32 in base64, against the cheapest way to an answer:

* `request`: parse the JSON, undo the base64, call the signature `serving_bytes`;
* `parts`: decode the files one by one (`tf.io.decode_png`), call `serving_uint8`.

The bar: `parts` over `request` is at least 0.9, so that files cost a server little more
than their decoding. The two take turns, in an order drawn anew for each repeat, and the
ratio is taken within a repeat. The model is `--model`, a version folder, or a
PreActResNet-18 of width 0.25 that was never trained, which costs the same. There is no
server here: no sockets, no batching. Takes about a minute on 2 idle cores.
"""

import base64
import json
import pathlib
import random
import tempfile

import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import networks
from nfm_keras.mixing import sites
from nfm_keras.serving.client import request_body
from nfm_keras.serving.saved_model import export

BAR = 0.9
SHAPE = (32, 32, 3)

_MODEL = flags.DEFINE_string("model", None, "Version folder of a SavedModel.")
_IMAGES = flags.DEFINE_integer("images", 32, "Files in a request.")
_CALLS = flags.DEFINE_integer("calls", 10, "Requests in a repeat.")
_REPEATS = flags.DEFINE_integer("repeats", 15, "Paired repeats.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

SETTINGS = ("images", "calls", "repeats")


def load():
    """The SavedModel: that of `--model`, or one made for the purpose."""
    import tensorflow as tf

    if _MODEL.value:
        return tf.saved_model.load(_MODEL.value)
    network = networks.build("preact_resnet18", SHAPE, 10, width=0.25)
    with tempfile.TemporaryDirectory() as folder:
        path = export(sites.remove_sites(network), pathlib.Path(folder, "model"))
        return tf.saved_model.load(str(path))


def png_files():
    """Random images, which compress worst."""
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (_IMAGES.value, *SHAPE))
    return [tf.io.encode_png(each).numpy() for each in images.astype(np.uint8)]


def ways(model, files):
    """Name -> function that answers for all files."""
    import tensorflow as tf

    body = request_body(files, "serving_bytes", rows=True)
    of_bytes = model.signatures["serving_bytes"]
    of_pixels = model.signatures["serving_uint8"]

    def request():
        rows = json.loads(body)["instances"]
        sent = [base64.b64decode(row["b64"]) for row in rows]
        return of_bytes(image_bytes=tf.constant(sent))["probabilities"].numpy()

    def parts():
        images = tf.stack([tf.io.decode_png(file) for file in files])
        return of_pixels(images=images)["probabilities"].numpy()

    np.testing.assert_allclose(request(), parts(), atol=1e-6)
    return {"request": request, "parts": parts}


def measure():
    """The report: seconds a call of both ways, and the ratio."""
    model = load()
    found = times(ways(model, png_files()))
    return timing.header("benchmarks.serving", SETTINGS) | {
        "seconds_a_call": {name: timing.summaries(x) for name, x in found.items()},
        "parts_over_request": timing.ratios(found["parts"], found["request"]),
        "bar": BAR,
    }


def times(functions):
    """Name -> clock readings a call, one a repeat."""
    rng, found = random.Random(0), {name: [] for name in functions}
    for _ in range(_REPEATS.value):
        for name in rng.sample(list(functions), len(functions)):
            spent = timing.seconds(lambda name=name: several(functions[name]))
            found[name].append({c: s / _CALLS.value for c, s in spent.items()})
    return found


def several(function):
    """Calls it as often as a repeat does."""
    for _ in range(_CALLS.value):
        function()


def table(report):
    """The report as text."""
    lines = [report["command"], f"{report['hardware']}"]
    lines.append(
        f"load {report['load_average']:.1f}, n={report['settings']['repeats']}"
    )
    lines.append(f"{'':<20}{'processor':<28}wall")
    rows = {
        f"{name}, ms": {
            clock: {key: 1000 * x if key != "n" else x for key, x in values.items()}
            for clock, values in clocks.items()
        }
        for name, clocks in report["seconds_a_call"].items()
    }
    rows["parts over request"] = report["parts_over_request"]
    for name, clocks in rows.items():
        middle, last = (timing.spread(clocks[clock]) for clock in ("processor", "wall"))
        lines.append(f"{name:<20}{middle:<28}{last}")
    return "\n".join([*lines, f"bar >= {report['bar']}"])


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
