"""AutoAttack standard: ours against the authors' own, on the same weights.

    pip install torch==2.13.0 pyautoattack==0.2.0
    python -m benchmarks.autoattack --images=200 --epsilon=1/255

The other is `pyautoattack`, the authors' code as a package, on a PyTorch network of the
same weights, whose logits are compared first. Both attack the same images with the same
steps, targets and queries; both count the windows of Square as the authors' code does
(`last_row=False`). Bars: ours takes at most a third of the processor time of theirs,
and at most one image in a hundred is broken by one and not by the other. Ours has met
the images before, so that nothing is compiled while it is timed.
"""

import functools

import keras
import numpy as np
from absl import app, flags

from benchmarks import timing
from nfm_keras import attacks, data
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.records.ids import split
from nfm_keras.serving.loading import load_model

_MODEL = flags.DEFINE_string("model", "cifar10_nfm", "Its name in --folder, or a path.")
_FOLDER = flags.DEFINE_string("folder", "savedmodels", "Where it is.")
_DATASET = flags.DEFINE_string("dataset", "cifar10", "Its data set.")
_EPSILON = flags.DEFINE_string("epsilon", "1/255", "Radius, in [0,1] pixels.")
_NORM = flags.DEFINE_enum("norm", "linf", attacks.NORMS, "Norm.")
_IMAGES = flags.DEFINE_integer("images", 200, "Images to attack.")
_STEPS = flags.DEFINE_integer("steps", 100, "Steps of APGD and FAB.")
_TARGETS = flags.DEFINE_integer("targets", 9, "Targets of APGD-T and FAB-T.")
_QUERIES = flags.DEFINE_integer("queries", 5000, "Queries of Square.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")

BARS = {"theirs_to_ours": ">= 3", "images_different": "<= 1 in 100"}
SETTINGS = ("model", "dataset", "epsilon", "norm", "images")
SETTINGS += ("steps", "targets", "queries")
_TOLERANCE = 1e-3


def twin(model):
    """The same network on PyTorch: a function of `(batch, channels, height, width)`."""
    import torch

    weights = model.get_weights()
    model = keras.models.clone_model(model)  # whose layers have one input each
    model.set_weights(weights)
    places = {id(layer.output): layer.name for layer in model.layers}
    steps = []
    for layer in model.layers[1:]:
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        inputs = [places[id(one)] for one in given]
        steps.append((layer.name, inputs, _converted(layer)))
    first, last = model.layers[0].name, model.layers[-1].name

    class Twin(torch.nn.Module):
        def forward(self, images):
            found = {first: images}
            for name, inputs, run in steps:
                found[name] = run(*(found[one] for one in inputs))
            return found[last]

    return Twin().eval()


def _converted(layer):
    """A layer of Keras as a function on PyTorch."""
    import torch
    from torch.nn import functional

    weights = [torch.tensor(np.asarray(x)) for x in layer.get_weights()]
    kind, config = type(layer).__mro__, layer.get_config()
    if keras.layers.Conv2D in kind:
        kernel = weights[0].permute(3, 2, 0, 1).contiguous()
        side = kernel.shape[-1] // 2 if config["padding"] == "same" else 0
        bias = weights[1] if config["use_bias"] else None
        given = {"bias": bias, "stride": config["strides"], "padding": side}
        return functools.partial(functional.conv2d, weight=kernel, **given)
    if keras.layers.BatchNormalization in kind:
        gamma, beta, mean, variance = weights
        given = {"running_mean": mean, "running_var": variance, "weight": gamma}
        given |= {"bias": beta, "eps": config["epsilon"]}
        return functools.partial(functional.batch_norm, **given)
    if keras.layers.Dense in kind:
        bias = weights[1] if config["use_bias"] else None
        kernel = weights[0].T.contiguous()
        return functools.partial(functional.linear, weight=kernel, bias=bias)
    if keras.layers.Rescaling in kind:
        scale, offset = (
            torch.tensor(config[name]).reshape(-1, 1, 1) for name in ("scale", "offset")
        )
        return lambda x: x * scale + offset
    if keras.layers.ZeroPadding2D in kind:
        (top, bottom), (left, right) = config["padding"]
        return lambda x: functional.pad(x, (left, right, top, bottom))
    simple = {
        keras.layers.ReLU: functional.relu,
        keras.layers.Add: lambda *parts: sum(parts),
        keras.layers.GlobalAveragePooling2D: lambda x: x.mean((2, 3)),
    }
    return next(run for known, run in simple.items() if known in kind)


def original(network, epsilon):
    """The authors' AutoAttack with the settings of the flags."""
    from pyautoattack import AutoAttack
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    norm = {"linf": "Linf", "l2": "L2"}[_NORM.value]
    attack = AutoAttack(network, norm=norm, eps=epsilon, seed=0)
    given = {"n_iter": _STEPS.value, "norm": norm, "eps": epsilon, "device": "cpu"}
    # Not by setting `n_iter`: the checkpoints are made of it at the start.
    attack.apgd = APGDAttack(network, logger=attack.logger, **given)
    attack.apgd_targeted = APGDAttack_targeted(
        network, n_target_classes=_TARGETS.value, logger=attack.logger, **given
    )
    attack.fab.n_iter, attack.fab.n_target_classes = _STEPS.value, _TARGETS.value
    attack.square.n_queries = _QUERIES.value - 1  # it does not count the start
    return attack


def measure():
    """The report: settings, times, what each breaks, and the machine."""
    import torch

    test, n = data.load(_DATASET.value).test, _IMAGES.value
    images = test.images[:n].astype("float32") / np.float32(255)
    labels = test.labels[:n].astype("int64")
    model = load_model(_MODEL.value, folder=_FOLDER.value)
    plain, network = PlainClassifier(model), twin(model)
    points = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    points, classes = torch.tensor(points), torch.tensor(labels)
    with torch.no_grad():
        theirs = network(points).numpy()
    far = float(np.abs(theirs - plain.logits_of(images)).max())
    if far > _TOLERANCE * np.abs(theirs).max():
        raise ValueError(f"The networks differ. Received: logits {far:.2g} apart")
    epsilon, norm = split(f"pgd@{_EPSILON.value}")[1], _NORM.value
    counts = {"steps": _STEPS.value, "targets": _TARGETS.value}
    ours = attacks.AutoAttack(
        epsilon, norm, queries=_QUERIES.value, last_row=False, **counts
    )
    warm = attacks.AutoAttack(epsilon / 1000, norm, steps=1, targets=1, queries=2)
    for size in (n, n - 1):  # nearly all stand; the second size is compiled for any
        warm(plain, images[:size], labels[:size])
    found = {}

    def run_ours():
        found["ours"] = ours(plain, images, labels)

    def run_theirs():
        attack = original(network, epsilon)
        with torch.no_grad():
            moved, _ = attack.run_standard_evaluation(points, classes, batch_size=250)
            found["theirs"] = (network(moved).argmax(1) != classes).numpy()

    seconds = {"theirs": timing.seconds(run_theirs), "ours": timing.seconds(run_ours)}
    success = found["ours"].success
    return {
        **timing.header("benchmarks.autoattack", SETTINGS),
        "torch": torch.__version__,
        "seconds": seconds,
        "theirs_to_ours": {
            clock: seconds["theirs"][clock] / seconds["ours"][clock]
            for clock in timing.CLOCKS
        },
        "stages": found["ours"].stages,
        "left": {
            "ours": int((~success).sum()),
            "theirs": int((~found["theirs"]).sum()),
        },
        "images_different": int((success != found["theirs"]).sum()),
        "only_ours": int((success & ~found["theirs"]).sum()),
        "bars": BARS,
    }


def table(report):
    """The report as lines of text."""
    lines = [f"{report['settings']}", f"load {report['load_average']:.1f}"]
    for name, seconds in report["seconds"].items():
        lines.append(f"{name:<7} {seconds['processor']:.1f} s of processor time")
    ratio = report["theirs_to_ours"]["processor"]
    lines.append(f"theirs to ours {ratio:.2f}  bar {BARS['theirs_to_ours']}")
    lines.append(f"left {report['left']}, by our stages {report['stages']}")
    different, n = report["images_different"], report["settings"]["images"]
    lines.append(f"different on {different} of {n}  bar {BARS['images_different']}")
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(timing.main(measure, table, _OUTPUT))
