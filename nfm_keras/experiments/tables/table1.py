"""Table 1 and Figures 3, 5 (left) and 6: PreActResNet-18 on CIFAR-10.

What the paper did: 200 epochs, batch 128, SGD 0.1 with momentum 0.9 and weight decay
5e-4, a tenth of the rate after 50, 75 and 90 % of the epochs, crops and flips, five
seeds, the last epoch's weights. Scored clean, under white noise and salt and pepper
(tables and Figure 3), PGD of 7 steps (Figure 5) and common corruptions (Figure 6).
The eleven rows are the paper's nine, its starred NFM with more noise, and adversarial
training (appendix F.6).

    python -m apps.sweep --experiment=table1 --output=results/table1

At full scale that is 55 runs of 200 epochs; `python -m apps.full_table1` runs them on
one GPU. Scaled to two CPU cores, some two hours:

    python -m apps.sweep --experiment=table1 --output=results/table1 --seeds=1 \\
        --width=0.25 --limit=20000 --epochs=20 --precision=mixed_bfloat16 \\
        --eval_every=2 --attack_steps=3 --attack_limit=1000 --corruption_limit=1000

What to expect: at full scale, Table 1's numbers, 95.4 % clean for NFM and 83.0 % at
white noise 0.3, where plain training keeps 56.3 %. Scaled down, 75 to 83 % clean, with
every mixing scheme behind the baseline; NFM is 10.8 points ahead of manifold mixup at
white noise 0.3 and 5.4 ahead of the baseline, noisy mixup and the starred NFM even
further.
"""

from nfm_keras.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    title="Table 1: PreActResNet-18 on CIFAR-10",
    settings={"dataset": "cifar10", "network": "preact_resnet18", "epochs": 200},
    rows={
        "erm": {"label": "Baseline", "scheme": "erm"},
        # The command behind the published row, which is not the levels of the text.
        "noise": {"label": "Baseline + Noise", "scheme": "noise_reference"},
        "label_smoothing": {
            "label": "Baseline + Label Smoothing",
            "scheme": "label_smoothing",
        },
        "mixup": {"label": "Mixup (alpha=1.0)", "scheme": "mixup"},
        "cutmix": {"label": "CutMix", "scheme": "cutmix"},
        "puzzlemix": {"label": "PuzzleMix", "scheme": "puzzlemix"},
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
        *("common_corruptions", "speckle_noise"),
    ),
    paper="table1",
)
