"""Figure 10: NFM with more and more noise, PreActResNet-18 on CIFAR-10.

What the paper did: as for Table 1, with several levels of noise, which it does not
list, from those of Table 1 (0.4 / 0.2) to those of its starred model (1.0 / 0.5); five
seeds. It prints no numbers.

    python -m apps.sweep --experiment=noise_levels --output=results/noise_levels

At full scale that is 35 runs of 200 epochs, for GPUs. Scaled as Table 1's command is,
about 6 minutes a row on two CPU cores with bfloat16, half an hour in float32 on one.

What to expect: accuracy under noise rises with the level, clean accuracy falls. Scaled
down, 80.9 % clean and 46.2 % at white noise 0.3 without noise; 78.9 and 66.0 % at the
highest level; between them it rises level by level from 0.1 on, where it is lowest.
"""

from nfm_keras.experiments.experiment import Experiment

LEVELS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""The additive level; the multiplicative one is half of it."""

EXPERIMENT = Experiment(
    title="Figure 10: NFM and the level of its noise",
    settings={
        "dataset": "cifar10",
        "network": "preact_resnet18",
        "epochs": 200,
        "scheme": "nfm",
    },
    rows={
        f"nfm_{level}": {
            "label": f"NFM ({level} / {level / 2})",
            "sigma_add": level,
            "sigma_mult": level / 2,
        }
        for level in LEVELS
    },
    perturbations=("clean", "white_noise", "salt_and_pepper"),
)
