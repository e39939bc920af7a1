"""Table 5, the ablation: noise levels, alpha and the sites, one at a time.

What the paper did: double-width PreActResNet-18 on CIFAR-100, as for Table 2; five
seeds. Its column headings are not those of its numbers, which repeat Table 2's columns.

    python -m apps.sweep --experiment=table5 --output=results/table5

At full scale that is 60 runs of 200 epochs, for GPUs. The rows on Fashion-MNIST with
two CPU cores, about two minutes a row:

    python -m apps.sweep --experiment=table5 --output=results/table5 --seeds=1 \\
        --dataset=fashion_mnist --width=0.25 --limit=10000 --epochs=6 \\
        --precision=mixed_bfloat16 --test_limit=2000

What to expect: with CIFAR-100 at full scale the clean accuracy hardly moves (79 to
81 %), and white noise 0.3 goes from 23 % without noise injection to 66 % with the
highest levels. Scaled down on Fashion-MNIST, 83 to 85 % clean in all rows, and at white
noise 0.3 72 to 78 % without noise injection, 78 to 82 % with levels of 0.4 / 0.2 and
more; no order between the three alphas.
"""

from nfm_keras.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    title="Table 5: ablation",
    settings={
        "dataset": "cifar100",
        "network": "preact_resnet18",
        "width": 2.0,
        "epochs": 200,
    },
    rows={
        "erm": {"label": "no mixing, no noise", "scheme": "erm"},
        "noise": {"label": "noise 0.4 / 0.2", "scheme": "noise"},
        "mixup": {"label": "mixup", "scheme": "mixup"},
        "noisy_mixup": {"label": "mixup, noise 0.4 / 0.2", "scheme": "noisy_mixup"},
        "manifold_mixup_0.2": {
            "label": "manifold, alpha 0.2",
            "scheme": "manifold_mixup",
            "alpha": 0.2,
        },
        "manifold_mixup_1": {"label": "manifold, alpha 1", "scheme": "manifold_mixup"},
        "manifold_mixup_2": {
            "label": "manifold, alpha 2",
            "scheme": "manifold_mixup",
            "alpha": 2.0,
        },
        "nfm_low_noise": {
            "label": "manifold, alpha 1, noise 0.1 / 0.1",
            "scheme": "nfm",
            "sigma_add": 0.1,
            "sigma_mult": 0.1,
        },
        "nfm_0.2": {
            "label": "manifold, alpha 0.2, noise 0.4 / 0.2",
            "scheme": "nfm",
            "alpha": 0.2,
        },
        "nfm_1": {"label": "manifold, alpha 1, noise 0.4 / 0.2", "scheme": "nfm"},
        "nfm_2": {
            "label": "manifold, alpha 2, noise 0.4 / 0.2",
            "scheme": "nfm",
            "alpha": 2.0,
        },
        "nfm_high_noise": {
            "label": "manifold, alpha 1, noise 0.8 / 0.4",
            "scheme": "nfm",
            "sigma_add": 0.8,
            "sigma_mult": 0.4,
        },
    },
    perturbations=("clean", "white_noise", "salt_and_pepper"),
    paper="table5",
)
