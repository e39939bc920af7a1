"""What the fields of a `Config` mean, a sentence each, for the help of the commands.

To import this module takes neither Keras nor NumPy.
"""

GROUPS = {
    "run": {
        "scheme": "How it is trained: nfm, erm, mixup ...; docs/schemes.md has them.",
        "epochs": "Length of the run, in passes over the training images.",
        "seed": "Of all that is random: weights, order, augmentation, draws.",
        "on_nan": "What a loss that is not finite does: stop, skip or rollback.",
        "eval_every": "Epochs between two validations.",
        "smoothness_every": "Epochs between logs of Jacobian and Hessian norms.",
        "distribution": "Several devices: mirrored, multi_worker or data_parallel.",
        "steps_per_execution": "Steps that run as one call, as in compile().",
        "jit_compile": "Whether XLA compiles the step; by default as Keras decides.",
        "precision": "float32, mixed_bfloat16 or mixed_float16.",
    },
    "data": {
        "dataset": "Set of images: digits, cifar10, folder:PATH, tfds:NAME ...",
        "limit": "Train and test on the first N images only.",
        "validation": "Training images held out to validate on, instead of the test's.",
        "batch_size": "Samples in a batch, over all devices.",
        "augment": "Whether images are cropped and mirrored at random.",
        "image_size": "Side of photographs, in pixels: 224.",
        "eval_crop": "Share of a photograph's shorter side to evaluate on: 0.875.",
        "antialias": "Whether training crops of photographs are antialiased; off.",
        "classes": "Names of the classes of photographs, read from the set.",
        "policy": "A further augmentation: autoaugment or randaugment.",
    },
    "network": {
        "network": "Name of the network; nfm-networks lists them.",
        "init_from": "File of weights to start from: .keras, .weights.h5, .h5 or .npz.",
        "freeze": "Beginnings of the paths of layers that do not learn: backbone/.",
        "width": "Multiplies the channels of the published network.",
        "identity_skip": "preact_resnet: what a skip carries, preact or input.",
        "final_norm": "preact_resnet: batch norm and ReLU before the pooling.",
        "depth": "mlp, wide_resnet, vit_lite: how deep the network is.",
        "dropout": "mlp, wide_resnet, wide_resnet28_10: share of values dropped.",
        "attention_dropout": "vit_lite*: share of the attention weights dropped.",
        "stochastic_depth": "vit_*: how often the last block is dropped.",
        "patch_size": "vit_lite: side of a patch, in pixels.",
        "zero_init": "resnet50, resnet101: the last norm of a block starts at 0.",
    },
    "mixing": {
        "alpha": "First parameter of lambda's Beta law; 0 for no mixing.",
        "beta": "Second parameter of the Beta law; by default alpha.",
        "sigma_add": "Level of the additive noise; by default the scheme's.",
        "sigma_mult": "Level of the multiplicative noise; by default the scheme's.",
        "noise": "Law of the noise: beta_scaled, as in the code, or gaussian.",
        "sites": "Names of the layers to choose from; by default the scheme's.",
        "per_sample": "Draw a lambda for each sample, not for each batch.",
        "probability": "How often a batch is mixed and perturbed at all.",
        "sparsity": "Share of the features that get no noise.",
        "site_weights": "How likely the sites are, such as 3,1,1,1; by default alike.",
        "alpha_schedule": "How alpha changes over the run: constant, rise or fall.",
        "noise_schedule": "How the noise changes over the run: constant, rise or fall.",
        "off_epoch": "Epoch from which nothing is mixed or perturbed.",
    },
    "technique": {
        "label_smoothing": "Share of a label that all classes get.",
        "grids": "puzzlemix: numbers of blocks a side to draw from.",
        "clean_lam": "puzzlemix: weight of the clean images' loss.",
        "attack_probability": "puzzlemix: how often a batch is attacked.",
        "attack_epsilon": "adversarial, puzzlemix: radius, in [0, 1] pixels.",
        "attack_norm": "adversarial: linf or l2.",
        "attack_steps": "adversarial: steps of the attack.",
        "jsd_weight": "noisymix: weight of the divergence between the views.",
    },
    "optimiser": {
        "optimizer": "sgd, adam or adamw.",
        "learning_rate": "Learning rate at its highest.",
        "momentum": "Of sgd.",
        "nesterov": "Whether the momentum is Nesterov's.",
        "layer_decay": "Multiplies the rate once for each stage before the last layer.",
        "weight_decay": "Added to gradients by sgd, decoupled in adamw.",
        "global_clipnorm": "Largest norm of all gradients together.",
        "gradient_accumulation": "Batches whose gradients make one update.",
        "base_batch_size": "Batch size that learning_rate is for; scales it to ours.",
        "ema": "Save the exponential average of the weights.",
        "swa_epochs": "Save the mean of the weights of so many last epochs.",
    },
    "schedule": {
        "schedule": "Of the learning rate: step, cosine or constant.",
        "rate_drops": "step: epochs, from 0, that begin with a tenth of the rate.",
        "warmup_epochs": "Epochs in which the rate rises from 0.",
    },
}
"""Group -> name of a field -> a sentence."""

SENTENCES = {
    name: f"({group}) {sentence}"
    for group, fields in GROUPS.items()
    for name, sentence in fields.items()
}
"""Name of a field -> its group and a sentence."""
