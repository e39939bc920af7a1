"""Table 2 and Figures 4, 5 (right) and 13: double-width PreActResNet-18 on CIFAR-100.

What the paper did: as for Table 1, with its "Wide ResNet-18", the same network at twice
the width, on CIFAR-100; five seeds.

    python -m apps.sweep --experiment=table2 --output=results/table2

At full scale that is 50 runs of 200 epochs of a network of 44.6 M parameters: for GPUs.
Scaled down, `--dry_run` says how long it takes where it is to run. Not run here yet.

What to expect: 80.9 % clean for NFM against 76.9 % without mixing, and 55.3 % against
23.5 % at white noise 0.3. history.png is Figure 13: train and test error over epochs.
"""

from nfm_keras.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    title="Table 2: double-width PreActResNet-18 on CIFAR-100",
    settings={
        "dataset": "cifar100",
        "network": "preact_resnet18",
        "width": 2.0,
        "epochs": 200,
    },
    rows={
        "erm": {"label": "Baseline", "scheme": "erm"},
        "noise": {"label": "Baseline + Noise", "scheme": "noise_reference"},
        "mixup": {"label": "Mixup (alpha=1.0)", "scheme": "mixup"},
        "cutmix": {"label": "CutMix", "scheme": "cutmix"},
        "puzzlemix": {"label": "PuzzleMix (200 epochs)", "scheme": "puzzlemix"},
        "manifold_mixup": {
            "label": "Manifold Mixup (alpha=1.0)",
            "scheme": "manifold_mixup",
        },
        "noisy_mixup": {"label": "Noisy Mixup (alpha=1.0)", "scheme": "noisy_mixup"},
        "nfm": {"label": "Noisy Feature Mixup (alpha=1.0)", "scheme": "nfm"},
        "nfm_star": {
            "label": "Noisy Feature Mixup* (1.0 / 0.5)",
            "scheme": "nfm_star",
        },
        "adversarial": {"label": "Adversarial training", "scheme": "adversarial"},
    },
    perturbations=(
        *("clean", "white_noise", "salt_and_pepper"),
        *("pgd@1/255", "pgd@2/255", "pgd@4/255", "pgd@8/255"),
    ),
    paper="table2",
)
