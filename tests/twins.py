"""The networks once more, in PyTorch, written from their published definitions.

A submodule has the name that the layer with the same weights has in Keras.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

PARAMETERS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def share_weights(model, twin, seed=0):
    """Gives random weights, running statistics too, to both."""
    rng = np.random.default_rng(seed)
    left = {name for name in twin.state_dict() if "num_batches" not in name}
    for layer in model.layers:
        for variable in layer.weights:
            *path, kind = variable.path.split("/")
            name = ".".join([*path, PARAMETERS.get(kind, kind)])
            values = _random(rng, kind, tuple(variable.shape))
            variable.assign(values)
            with torch.no_grad():
                twin.state_dict()[name].copy_(torch.from_numpy(_transposed(values)))
            left.remove(name)
    assert not left


def logits(twin, images):
    """Logits of `(batch, height, width, channels)` or `(batch, features)` arrays."""
    x = torch.from_numpy(images)
    with torch.no_grad():
        return twin.eval()(x.movedim(-1, 1) if x.ndim == 4 else x).numpy()


def parameters(make):
    """Number of trainable parameters of a twin that is never allocated."""
    with torch.device("meta"):
        return sum(p.numel() for p in make().parameters())


def _random(rng, kind, shape):
    if kind in ("gamma", "moving_variance"):
        values = rng.uniform(0.5, 1.5, shape)
    else:
        scale = np.prod(shape[:-1]) ** -0.5 if kind == "kernel" else 0.3
        values = scale * rng.normal(size=shape)
    return values.astype("float32")


def _transposed(kernel):
    """Keras has the channels of a kernel last, PyTorch first."""
    if kernel.ndim == 4:
        return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return np.ascontiguousarray(kernel.T) if kernel.ndim == 2 else kernel


class Twin(nn.Module):
    def conv(self, name, *sizes, stride=1, bias=False):
        padding = sizes[2] // 2
        self.add_module(name, nn.Conv2d(*sizes, stride, padding, bias=bias))

    def norm(self, name, channels):
        self.add_module(f"{name}_norm", nn.BatchNorm2d(channels))

    def run(self, name, x):
        return self.get_submodule(name)(x)

    def norm_relu(self, name, x):
        return F.relu(self.run(f"{name}_norm", x))


def grid(stages):
    """Label, channels and stride of every block of `[(channels, blocks), ...]`."""
    for stage, (channels, blocks) in enumerate(stages, start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            yield f"{stage}_block{block}", channels, stride


class PreActResNet(Twin):
    def __init__(self, inputs, classes, stages, identity_skip="preact"):
        super().__init__()
        self.blocks, self.identity_skip = [], identity_skip
        size = stages[0][0]
        self.conv("stem", inputs, size, 3)
        for label, filters, stride in grid(stages):
            label = f"stage{label}"
            self.norm(f"{label}_1", size)
            self.conv(f"{label}_conv1", size, filters, 3, stride=stride)
            self.norm(f"{label}_2", filters)
            self.conv(f"{label}_conv2", filters, filters, 3)
            projects = stride != 1 or size != filters
            if projects:
                self.conv(f"{label}_skip", size, filters, 1, stride=stride)
            self.blocks.append((label, projects))
            size = filters
        self.logits = nn.Linear(size, classes)

    def forward(self, x):
        x = self.stem(x)
        for label, projects in self.blocks:
            pre = self.norm_relu(f"{label}_1", x)
            skip = pre if self.identity_skip == "preact" else x
            skip = self.run(f"{label}_skip", pre) if projects else skip
            y = self.norm_relu(f"{label}_2", self.run(f"{label}_conv1", pre))
            x = self.run(f"{label}_conv2", y) + skip
        return self.logits(x.mean((2, 3)))


class WideResNet(Twin):
    def __init__(self, inputs, classes, depth, width):
        super().__init__()
        self.blocks, size = [], 16
        self.conv("stem", inputs, size, 3, bias=True)
        n = (depth - 4) // 6
        for label, filters, stride in grid([(k * width, n) for k in (16, 32, 64)]):
            label = f"group{label}"
            self.norm(f"{label}_1", size)
            self.conv(f"{label}_conv1", size, filters, 3, bias=True)
            self.norm(f"{label}_2", filters)
            self.conv(f"{label}_conv2", filters, filters, 3, stride=stride, bias=True)
            projects = stride != 1 or size != filters
            if projects:
                self.conv(f"{label}_skip", size, filters, 1, stride=stride, bias=True)
            self.blocks.append((label, projects))
            size = filters
        self.norm("final", size)
        self.logits = nn.Linear(size, classes)

    def forward(self, x):
        x = self.stem(x)
        for label, projects in self.blocks:
            y = self.run(f"{label}_conv1", self.norm_relu(f"{label}_1", x))
            y = self.run(f"{label}_conv2", self.norm_relu(f"{label}_2", y))
            x = y + (self.run(f"{label}_skip", x) if projects else x)
        return self.logits(self.norm_relu("final", x).mean((2, 3)))


class ResNet(Twin):
    def __init__(self, inputs, classes, stages):
        super().__init__()
        self.blocks, size = [], stages[0][0]
        self.conv("stem", inputs, size, 7, stride=2)
        self.norm("stem", size)
        for label, filters, stride in grid(stages):
            label = f"stage{label}"
            self.conv(f"{label}_conv1", size, filters, 1)
            self.norm(f"{label}_1", filters)
            self.conv(f"{label}_conv2", filters, filters, 3, stride=stride)
            self.norm(f"{label}_2", filters)
            self.conv(f"{label}_conv3", filters, 4 * filters, 1)
            self.norm(f"{label}_3", 4 * filters)
            projects = stride != 1 or size != 4 * filters
            if projects:
                self.conv(f"{label}_skip", size, 4 * filters, 1, stride=stride)
                self.norm(f"{label}_skip", 4 * filters)
            self.blocks.append((label, projects))
            size = 4 * filters
        self.logits = nn.Linear(size, classes)

    def forward(self, x):
        x = F.max_pool2d(self.norm_relu("stem", self.stem(x)), 3, 2, 1)
        for label, projects in self.blocks:
            y = self.norm_relu(f"{label}_1", self.run(f"{label}_conv1", x))
            y = self.norm_relu(f"{label}_2", self.run(f"{label}_conv2", y))
            y = self.run(f"{label}_3_norm", self.run(f"{label}_conv3", y))
            if projects:
                x = self.run(f"{label}_skip_norm", self.run(f"{label}_skip", x))
            x = F.relu(y + x)
        return self.logits(x.mean((2, 3)))


class ViTLite(Twin):
    def __init__(self, inputs, classes, side, depth, patch, size, heads=4):
        super().__init__()
        self.depth, self.heads = depth, heads
        self.patches = nn.Conv2d(inputs, size, patch, patch)
        self.positions = nn.ParameterDict(
            {
                "class_token": nn.Parameter(torch.zeros(1, 1, size)),
                "positions": nn.Parameter(
                    torch.zeros(1, 1 + (side // patch) ** 2, size)
                ),
            }
        )
        for label in [f"block{i + 1}" for i in range(depth)]:
            attention = {
                "qkv": nn.Linear(size, 3 * size, bias=False),
                "projection": nn.Linear(size, size),
            }
            self.add_module(f"{label}_attention", nn.ModuleDict(attention))
            self.add_module(f"{label}_norm0", nn.LayerNorm(size))
            self.add_module(f"{label}_norm1", nn.LayerNorm(size))
            self.add_module(f"{label}_dense1", nn.Linear(size, 2 * size))
            self.add_module(f"{label}_dense2", nn.Linear(2 * size, size))
        self.final_norm = nn.LayerNorm(size)
        self.logits = nn.Linear(size, classes)

    def attend(self, label, x):
        attention = self.get_submodule(f"{label}_attention")
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (
            part.reshape(shape).transpose(1, 2)
            for part in attention["qkv"](x).chunk(3, dim=-1)
        )
        heads = F.scaled_dot_product_attention(q, k, v)
        return attention["projection"](heads.transpose(1, 2).reshape(x.shape))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        first = self.positions["class_token"].expand(len(x), -1, -1)
        x = torch.cat([first, x], dim=1) + self.positions["positions"]
        for label in [f"block{i + 1}" for i in range(self.depth)]:
            x = x + self.attend(label, self.run(f"{label}_norm0", x))
            x = self.run(f"{label}_norm1", x)
            hidden = F.gelu(self.run(f"{label}_dense1", x))
            x = x + self.run(f"{label}_dense2", hidden)
        return self.logits(self.final_norm(x)[:, 0])


class MLP(Twin):
    def __init__(self, inputs, classes, depth, units):
        super().__init__()
        self.labels = [f"dense_{i + 1}" for i in range(depth)]
        for label in self.labels:
            self.add_module(label, nn.Linear(inputs, units))
            inputs = units
        self.logits = nn.Linear(units, classes)

    def forward(self, x):
        for label in self.labels:
            x = F.relu(self.run(label, x))
        return self.logits(x)
