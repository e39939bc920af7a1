"""Above NFM: settings that might beat the paper's in all columns of Table 1.

Not of the paper. A candidate is above NFM if it is at least level with it in all seven
columns of Table 1 and better in most, at 1.1 times the cost of a step at most. The rows
are scored on 5,000 training images that are held out, which are there to choose; what
is chosen is shown once on the test images, by `apps.evaluate`.

    python -m apps.sweep --experiment=above_nfm --output=runs/above_nfm --seeds=1 \\
        --width=0.25
    python -m apps.report --experiment=above_nfm --runs=runs/above_nfm \\
        --output=runs/above_nfm

Why each of them might:

* `noise_rise`: noise from the start slows learning down; the end decides robustness.
* `plain_end`: a classifier that is mixed to the last step never sees a clean image, and
  its batch norm knows mixed ones alone; the last tenth, at the lowest rate, could give
  clean accuracy back.
* `alpha_0.2`: lambda near 0 and 1 keeps images and labels near real ones, where a short
  run gains most, and the noise alone brings most of the robustness to noise.
* `input_weighted`: what is scored is noise of the input, and a batch that is perturbed
  at a later site does nothing against it.
* `sparse_noise`: noise on half of the features, as NoisyMix has it, is nearer to salt
  and pepper, and leaves the other half to learn from.
* `swa`: the mean of the weights of the last tenth, flatter and at no cost a step.

What to expect: not run here yet.
"""

from nfm_keras.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    title="Above NFM: candidates, on 5,000 held-out images of CIFAR-10",
    settings={
        "dataset": "cifar10",
        "network": "preact_resnet18",
        "epochs": 30,
        "scheme": "nfm",
        "validation": 5000,
        "eval_every": 5,
    },
    rows={
        "nfm": {"label": "NFM (0.4 / 0.2)"},
        "noise_rise": {"label": "Noise that rises", "noise_schedule": "rise"},
        "plain_end": {"label": "Nothing mixed in the last tenth", "off_epoch": 27},
        "alpha_0.2": {"label": "alpha 0.2", "alpha": 0.2},
        "input_weighted": {
            "label": "The input half of the time",
            "site_weights": (3.0, 1.0, 1.0, 1.0),
        },
        "sparse_noise": {"label": "Noise on half of the features", "sparsity": 0.5},
        "swa": {"label": "SWA of the last tenth", "swa_epochs": 3},
    },
    seeds=(0, 1),
    perturbations=("clean", "white_noise", "salt_and_pepper"),
    split="validation",
)
