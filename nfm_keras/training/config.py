"""A run as data: everything that determines it."""

import dataclasses

import keras

from nfm_keras import data, networks
from nfm_keras.data import policies
from nfm_keras.mixing import schedule as mixing_schedule
from nfm_keras.mixing import schemes
from nfm_keras.mixing.draw import Mixing
from nfm_keras.mixing.sites import find_sites, site_layers
from nfm_keras.training import optimizers
from nfm_keras.training.distribution import engine as distribution

NETWORK_OPTIONS = (
    *("identity_skip", "final_norm", "depth", "dropout"),
    *("attention_dropout", "stochastic_depth", "patch_size"),
)
ON_NAN = ("stop", "skip", "rollback")
"""What a run does about a loss that is not finite: end, go on without it, go back."""
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that determines a run; a field is a flag of `apps.train`.

    The defaults are the paper's for CIFAR, at full width and length. Fields of
    the mixing, of the scheme's technique and `label_smoothing` that are `None` take the
    scheme's values, and stay `None` where it has none; those from `identity_skip` to
    `patch_size` take those of the network's builder. `policy` is one of
    `policies.POLICIES`, done after the crop and the flip of `augment`, or without
    them.

    `batch_size` counts the samples of all replicas of a `distribution`;
    `base_batch_size`, where given, is the one that `learning_rate` is for. `ema` saves
    the exponential average of the weights as the classifier, `swa_epochs` the mean of
    those at the ends of the last so many epochs; `mixed_float16` scales the loss.

    On 2 cores an epoch of CIFAR-10 at `width=0.25` in `mixed_bfloat16` takes
    about 75 s.

    ViT-Lite has another published recipe:

        network="vit_lite7_4", optimizer="adamw", learning_rate=5e-4, weight_decay=3e-2,
        schedule="cosine", warmup_epochs=5, label_smoothing=0.1, policy="autoaugment"
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
    limit: int | None = None
    validation: int = 0
    eval_every: int = 1
    identity_skip: str | None = None
    final_norm: bool | None = None
    depth: int | None = None
    dropout: float | None = None
    attention_dropout: float | None = None
    stochastic_depth: float | None = None
    patch_size: int | None = None
    seed: int = 0

    def __post_init__(self):
        for name in (
            "epochs",
            "batch_size",
            "eval_every",
            "gradient_accumulation",
            "steps_per_execution",
        ):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. Received: {getattr(self, name)}"
                )
        for name in ("learning_rate", "momentum", "weight_decay", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"`{name}` must be finite and at least 0. "
                    f"Received: {getattr(self, name)}"
                )
        for name, known in (
            ("optimizer", optimizers.OPTIMIZERS),
            ("schedule", optimizers.SCHEDULES),
            ("precision", PRECISIONS),
            ("on_nan", ON_NAN),
            ("distribution", (None, *distribution.DISTRIBUTIONS)),
            ("alpha_schedule", (None, *mixing_schedule.RAMPS)),
            ("noise_schedule", (None, *mixing_schedule.RAMPS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {known}. "
                    f"Received: {getattr(self, name)!r}"
                )
        for name in ("global_clipnorm", "base_batch_size"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"`{name}` must be positive. Received: {value}")
        if not 0 <= self.swa_epochs <= self.epochs:
            raise ValueError(
                f"`swa_epochs` must lie between 0 and the {self.epochs} epochs. "
                f"Received: {self.swa_epochs}"
            )
        if self.swa_epochs and self.ema:
            raise ValueError(
                "A run has one kind of averages: `ema` or `swa_epochs`. "
                f"Received: ema=True, swa_epochs={self.swa_epochs}"
            )
        if self.off_epoch is not None and self.off_epoch < 0:
            raise ValueError(
                f"`off_epoch` must be at least 0. Received: {self.off_epoch}"
            )
        data.spec(self.dataset)
        if self.policy is not None:
            policies.lookup(self.policy)
        for name, kind in (("sites", str), ("grids", int)):
            if getattr(self, name) is not None:
                values = tuple(kind(value) for value in getattr(self, name))
                object.__setattr__(self, name, values)

    def to_json(self) -> dict:
        """Returns the fields as JSON values."""
        fields = dataclasses.asdict(self)
        lists = {name: fields[name] for name in ("sites", "grids")}
        return fields | {name: v and list(v) for name, v in lists.items()}


def resolve(config: Config) -> tuple[Config, keras.Model]:
    """Builds the network and fills in what the scheme and the network decide.

    Returns:
        `(config, network)`: the config with every field of the mixing set, and the
        functional model with its sites.

    Raises:
        ValueError: For an unknown scheme, network, site or noise law, or what the
            scheme cannot take.
    """
    known = data.spec(config.dataset)
    options = {name: getattr(config, name) for name in NETWORK_OPTIONS}
    keras.config.set_dtype_policy(config.precision)
    network = networks.build(
        config.network,
        known.shape,
        known.num_classes,
        width=config.width,
        mean=known.mean,
        std=known.std,
        **{name: value for name, value in options.items() if value is not None},
    )
    scheme = schemes.lookup(config.scheme)
    mixing = schemes.mixing(config.scheme, find_sites(network), **mixing_fields(config))
    site_layers(network, mixing.sites)  # refuses a name that is not a site's
    settings = mixing.get_config()
    if config.label_smoothing is None:
        settings["label_smoothing"] = scheme.label_smoothing
    technique = schemes.technique(config.scheme, **technique_fields(config))
    if technique is not None:
        technique.check(known.shape)
        settings |= technique.get_config()
    return dataclasses.replace(config, **settings), network


def mixing_fields(config):
    """The fields of a config that are `Mixing`'s."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(Mixing)}


def technique_fields(config):
    """The fields of a config that are those of a scheme's technique."""
    return {name: getattr(config, name) for name in schemes.technique_fields()}
