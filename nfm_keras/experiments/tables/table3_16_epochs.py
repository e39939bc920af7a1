"""Table 3 in 16 epochs: ResNet-50 on ImageNet, a short schedule of our own.

The rows and the scores of `table3`, in 16 epochs at a rate that warms up for one and
falls to 0 along a cosine: 20.5 million images a run instead of 256 million.

    python -m apps.sweep --experiment=table3_16_epochs --output=results/table3_16 \\
        --precision=mixed_bfloat16 --data_dir=/data

Hours of one GPU a row, which `--dry_run` estimates. Not run here, so what to expect
is not known.
"""

import dataclasses

from nfm_keras.experiments.tables import table3

_SHORT = {"epochs": 16, "schedule": "cosine", "warmup_epochs": 1}

EXPERIMENT = dataclasses.replace(
    table3.EXPERIMENT,
    title="Table 3 in 16 epochs: ResNet-50 on ImageNet",
    settings=table3.EXPERIMENT.settings | _SHORT,
)
