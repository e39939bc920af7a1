"""Figure 11: NFM against adversarial training, PreActResNet-18 on CIFAR-10.

What the paper did: adversarial training with PGD of 7 steps and several l2 radii, the
best of them "0.01" in units that it does not give, against NFM with its noise of Table
1 and more (appendix F.6); five seeds. It prints no numbers. The radii here are in units
of [0, 1] pixels.

    python -m apps.sweep --experiment=adversarial_training \\
        --output=results/adversarial_training

At full scale that is 35 runs of 200 epochs, the adversarial ones eight times as long as
the others: for GPUs. Scaled as Table 1's command is, with 3 steps, a row takes up to
four times as long as plain training on two CPU cores (docs/results.md).

What the paper sees: adversarial training holds out longest against PGD, and costs clean
accuracy; NFM is ahead under salt and pepper, which neither has seen.
"""

from nfm_keras.experiments.experiment import Experiment

RADII = (0.01, 0.05, 0.1, 0.25)

EXPERIMENT = Experiment(
    title="Figure 11: NFM against adversarial training",
    settings={"dataset": "cifar10", "network": "preact_resnet18", "epochs": 200},
    rows={
        "erm": {"label": "Baseline", "scheme": "erm"},
        "nfm": {"label": "NFM (0.4 / 0.2)", "scheme": "nfm"},
        "nfm_star": {"label": "NFM (1.0 / 0.5)", "scheme": "nfm_star"},
        **{
            f"adversarial_{radius}": {
                "label": f"Adversarial training, l2 {radius}",
                "scheme": "adversarial",
                "attack_norm": "l2",
                "attack_epsilon": radius,
            }
            for radius in RADII
        },
    },
    perturbations=(
        *("clean", "salt_and_pepper"),
        *("pgd_l2@0.01", "pgd_l2@0.05", "pgd_l2@0.1", "pgd_l2@0.25", "pgd_l2@0.5"),
        *("pgd@1/255", "pgd@2/255", "pgd@4/255"),
    ),
)
