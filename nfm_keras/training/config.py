"""A run as data: everything that determines it.

To import this module takes neither Keras nor NumPy. What a name may be, such as that of
a network, is asked of the module that knows when a `Config` is made.
"""

import dataclasses

from nfm_keras.checks import check_count, check_number, check_weights, unknown
from nfm_keras.imported import is_imported

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("step", "cosine", "constant")
DISTRIBUTIONS = ("mirrored", "multi_worker", "data_parallel")
ON_NAN = ("stop", "skip", "rollback")
"""What a run does about a loss that is not finite: end, go on without it, go back."""

USUAL = {"digits": {"network": "small_resnet", "epochs": 30, "batch_size": 32}}
"""Data set -> what `apps.train` takes for it, where that is not a `Config`'s default.

The defaults of `Config` are the paper's for CIFAR; they take hours on a few cores.
"""

_COUNTS = (
    *("epochs", "batch_size", "eval_every", "gradient_accumulation"),
    *("steps_per_execution", "base_batch_size", "image_size", "smoothness_every"),
    "limit",
)
_COUNTS_FROM_0 = ("seed", "swa_epochs", "off_epoch", "validation")
_LISTS = (
    *(("sites", str), ("site_weights", float), ("grids", int)),
    *(("rate_drops", float), ("classes", str), ("freeze", str)),
)
# What has no effect with another optimiser, or in a scheme where that is 0.
_OF_OPTIMIZERS = {
    "momentum": ("sgd",),
    "nesterov": ("sgd",),
    "weight_decay": ("sgd", "adamw"),
}
_SCALED = {
    "alpha_schedule": ("alpha",),
    "noise_schedule": ("sigma_add", "sigma_mult"),
}
_NUMBERS_FROM_0 = ("learning_rate", "momentum", "weight_decay")


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that determines a run; a field is a flag of `apps.train`.

    The defaults are the paper's for CIFAR, at full width and length. Fields of
    the mixing, of the scheme's technique and `label_smoothing` that are `None` take the
    scheme's values, and stay `None` where it has none; those from `identity_skip` to
    `zero_init` take those of the network's builder. `policy` is one of
    `policies.POLICIES`, done after the crop and the flip of `augment`, or without
    them.

    `rate_drops` are the milestones of `schedule="step"`: epochs, from 0, that begin
    with a tenth of the rate before; `None` for the authors', 101, 151 and 181 of 200.

    `image_size`, `eval_crop`, `antialias` and `classes` are of photographs and stay
    `None` for other sets: the side of an image (224), the share of the shorter side
    that an evaluation shows (0.875), whether training crops are antialiased, and the
    names of the classes, which are read from the set.

    `init_from` is a file of weights that the run starts from: a `.keras` file, a
    `.weights.h5` of the classifier, or the `weights_float16.npz` beside a record.
    Layers whose paths begin with one of `freeze` stay as they are; `layer_decay`
    multiplies the learning rate once for each stage between a layer and the last one.

    `batch_size` counts the samples of all replicas of a `distribution`;
    `base_batch_size`, where given, is the one that `learning_rate` is for. `ema` saves
    the exponential average of the weights as the classifier, `swa_epochs` the mean of
    those at the ends of the last so many epochs; `mixed_float16` scales the loss.

    `smoothness_every` logs Jacobian and Hessian norms by site, scores and margins of 64
    training images every so many epochs (`nfm_keras.theory.SmoothnessLogger`).

    `nfm-train --help` has a sentence for every field. ViT-Lite has another published
    recipe:

        network="vit_lite7_4", optimizer="adamw", learning_rate=5e-4, weight_decay=3e-2,
        schedule="cosine", warmup_epochs=5, label_smoothing=0.1, policy="autoaugment"

    Raises:
        ValueError: For an unknown name, a number out of its range, or a setting that
            would have no effect.
    """

    scheme: str = "nfm"
    dataset: str = "digits"
    network: str = "preact_resnet18"
    width: float = 1.0
    epochs: int = 200
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "step"
    rate_drops: tuple[float, ...] | None = None
    warmup_epochs: int = 0
    alpha: float | None = None
    beta: float | None = None
    sigma_add: float | None = None
    sigma_mult: float | None = None
    noise: str | None = None
    sites: tuple[str, ...] | None = None
    per_sample: bool = False
    probability: float = 1.0
    sparsity: float | None = None
    site_weights: tuple[float, ...] | None = None
    label_smoothing: float | None = None
    grids: tuple[int, ...] | None = None
    clean_lam: float | None = None
    attack_probability: float | None = None
    attack_epsilon: float | None = None
    attack_norm: str | None = None
    attack_steps: int | None = None
    jsd_weight: float | None = None
    alpha_schedule: str | None = None
    noise_schedule: str | None = None
    off_epoch: int | None = None
    augment: bool = True
    policy: str | None = None
    precision: str = "float32"
    gradient_accumulation: int = 1
    global_clipnorm: float | None = None
    on_nan: str = "stop"
    ema: bool = False
    swa_epochs: int = 0
    steps_per_execution: int = 1
    distribution: str | None = None
    base_batch_size: int | None = None
    jit_compile: bool | None = None
    init_from: str | None = None
    freeze: tuple[str, ...] | None = None
    layer_decay: float | None = None
    limit: int | None = None
    validation: int = 0
    image_size: int | None = None
    eval_crop: float | None = None
    antialias: bool | None = None
    classes: tuple[str, ...] | None = None
    eval_every: int = 1
    smoothness_every: int | None = None
    identity_skip: str | None = None
    final_norm: bool | None = None
    depth: int | None = None
    dropout: float | None = None
    attention_dropout: float | None = None
    stochastic_depth: float | None = None
    patch_size: int | None = None
    zero_init: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in _LISTS:
            if getattr(self, name) is not None:
                values = _values(name, getattr(self, name), kind)
                object.__setattr__(self, name, values)
        self._check_numbers()
        self._check_averages()
        for name, known in choices().items():
            value = getattr(self, name)
            if value is not None and value not in known:
                if _is_ones_own(name, value):
                    continue
                raise unknown(name, value, known)
        self._check_unused()

    def to_json(self) -> dict:
        """Returns the fields as JSON values."""
        fields = dataclasses.asdict(self)
        lists = {name: fields[name] for name, _ in _LISTS}
        return fields | {name: v and list(v) for name, v in lists.items()}

    def _check_numbers(self):
        for least, names in ((1, _COUNTS), (0, _COUNTS_FROM_0)):
            for name in names:
                if getattr(self, name) is not None:
                    check_count(name, getattr(self, name), least)
        for name in _NUMBERS_FROM_0:
            check_number(name, getattr(self, name), least=0)
        if self.eval_crop is not None:
            check_number("eval_crop", self.eval_crop, above=0, most=1)
        if self.layer_decay is not None:
            check_number("layer_decay", self.layer_decay, above=0, most=1)
        for epoch in self.rate_drops or ():
            check_number("rate_drops", epoch, least=0)
        if self.site_weights is not None:
            check_weights("site_weights", self.site_weights)
        if self.global_clipnorm is not None:
            check_number("global_clipnorm", self.global_clipnorm, above=0)

        if self.smoothness_every and self.precision != "float32":
            raise ValueError(
                "`smoothness_every` takes second derivatives, which need float32. "
                f"Received: precision={self.precision!r}"
            )

    def _check_unused(self):
        """Refuses what would be taken without effect."""
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        for name, users in _OF_OPTIMIZERS.items():
            value = getattr(self, name)
            if self.optimizer not in users and value not in (0, usual[name]):
                raise ValueError(
                    f"`{name}` is of {' and '.join(users)} alone. Received: "
                    f"{name}={value!r}, optimizer={self.optimizer!r}"
                )
        scheme = self._scheme()
        for name, scaled in _SCALED.items():
            level = getattr(self, name)
            if level in ("rise", "fall") and not any(scheme[s] for s in scaled):
                raise ValueError(
                    f"`{name}` scales {' and '.join(scaled)}, at 0 in scheme "
                    f"{self.scheme!r}. Received: {name}={level!r}"
                )

    def _scheme(self):
        """The scheme's row of the table, with what is set here instead."""
        from nfm_keras.mixing import schemes

        row = schemes.lookup(self.scheme)._asdict()
        names = row.keys() & {field.name for field in dataclasses.fields(self)}
        given = {name: getattr(self, name) for name in names}
        return row | {name: v for name, v in given.items() if v is not None}

    def _check_averages(self):
        if self.layer_decay is not None and self.ema:
            raise ValueError(
                "`ema` averages weights before `layer_decay` has slowed them: take "
                f"`swa_epochs`. Received: ema=True, layer_decay={self.layer_decay}"
            )
        if self.swa_epochs > self.epochs:
            raise ValueError(
                f"`swa_epochs` must be at most the {self.epochs} epochs of the run. "
                f"Received: {self.swa_epochs}"
            )
        if self.swa_epochs and self.ema:
            raise ValueError(
                "A run has one kind of averages: `ema` or `swa_epochs`. "
                f"Received: ema=True, swa_epochs={self.swa_epochs}"
            )


def _values(name, given, kind):
    """A field of several values as a tuple; a name may stand for itself."""
    given = (given,) if isinstance(given, str) else given
    try:
        return tuple(kind(value) for value in given)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be a sequence of {kind.__name__}. Received: {given!r}"
        ) from None


def _is_ones_own(name, value):
    """Whether a data set or network that no table has may be there all the same."""
    from nfm_keras import data

    if name == "network":
        return is_imported(value)
    return name == "dataset" and (data.is_photographs(value) or data.is_own(value))


def choices() -> dict:
    """Returns the fields of a `Config` that name something, with the names there are.

    Example:

    >>> list(choices()["precision"])
    ['float32', 'mixed_bfloat16', 'mixed_float16']
    """
    from nfm_keras import data
    from nfm_keras.data import policies
    from nfm_keras.mixing import schemes
    from nfm_keras.networks import name_table

    return {
        "scheme": schemes.SCHEMES,
        "dataset": data.SPECS,
        "network": name_table.names(),
        "policy": policies.POLICIES,
        "alpha_schedule": schemes.RAMPS,
        "noise_schedule": schemes.RAMPS,
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "precision": PRECISIONS,
        "on_nan": ON_NAN,
        "distribution": DISTRIBUTIONS,
    }
