"""The row of benchmarks/speed/supernet_step.py that runs on PyTorch, channels last, in whatever environment has it.

python benchmarks/speed/torch_row.py '{"core": 0, "batch": 64, ...}'    (supernet_step.py does that)
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from benchmarks.speed import step_worker

if __name__ == "__main__":
    step_worker.pin(json.loads(sys.argv[1])["core"])

import torch
from torch import nn

CLASSES = 10
INPUTS, NODES = 2, 4


def norm(channels):
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)


def relu_conv_norm(channels_in, channels):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(channels_in, channels, 1, bias=False), norm(channels))


class FactorizedReduction(nn.Module):
    def __init__(self, channels_in, channels):
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)
        self.second = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)
        self.norm = norm(channels)

    def forward(self, x):
        x = torch.relu(x)
        return self.norm(torch.cat([self.first(x), self.second(x[:, :, 1:, 1:])], dim=1))


def separable(channels, size, stride=1, dilation=1):
    padding = dilation * (size // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, size, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        norm(channels),
    ]


def operation(name, channels, stride):
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduction(channels, channels)
    kind, _, size = name.rpartition("_")
    size = int(size[0])
    if kind == "max_pool":
        return nn.Sequential(nn.MaxPool2d(size, stride, size // 2), norm(channels))
    if kind == "avg_pool":
        return nn.Sequential(nn.AvgPool2d(size, stride, size // 2, count_include_pad=False), norm(channels))
    if kind == "sep_conv":
        return nn.Sequential(*separable(channels, size, stride), *separable(channels, size))
    return nn.Sequential(*separable(channels, size, stride, dilation=2))


class Cell(nn.Module):
    def __init__(self, path, kind, channels0, channels1, channels, after_reduction):
        super().__init__()
        self.stride = 2 if kind == "reduce" else 1
        prepare = FactorizedReduction if after_reduction else relu_conv_norm
        self.prepare = nn.ModuleList([prepare(channels0, channels), relu_conv_norm(channels1, channels)])
        self.edges = nn.ModuleDict()
        for node in range(INPUTS, INPUTS + NODES):
            for source in range(node):
                name = path[f"{kind}_{node}_{source}"]
                if name != "none":
                    stride = self.stride if source < INPUTS else 1
                    self.edges[f"{node}_{source}"] = operation(name, channels, stride)

    def forward(self, input0, input1):
        states = [self.prepare[0](input0), self.prepare[1](input1)]
        for node in range(INPUTS, INPUTS + NODES):
            keys = [(f"{node}_{source}", source) for source in range(node)]
            outputs = [self.edges[key](states[source]) for key, source in keys if key in self.edges]
            states.append(sum(outputs) if outputs else 0 * states[0][:, :, :: self.stride, :: self.stride])
        return torch.cat(states[INPUTS:], dim=1)


class Network(nn.Module):
    def __init__(self, path, channels, cells):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * channels, 3, padding=1, bias=False), norm(3 * channels))
        channels0 = channels1 = 3 * channels
        self.cells = nn.ModuleList()
        after_reduction = False
        for index in range(cells):
            reduction = index in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            kind = "reduce" if reduction else "normal"
            self.cells.append(Cell(path, kind, channels0, channels1, channels, after_reduction))
            channels0, channels1, after_reduction = channels1, NODES * channels, reduction
        self.head = nn.Linear(channels1, CLASSES)

    def forward(self, images):
        state0 = state1 = self.stem(images)
        for cell in self.cells:
            state0, state1 = state1, cell(state0, state1)
        return self.head(state1.mean((2, 3)))


class Torch:
    def __init__(self, options):
        self.options = options
        height, width, channels = options["image_shape"]
        images = torch.randn(options["batch"], channels, height, width)
        self.images = images.to(memory_format=torch.channels_last)
        self.labels = torch.randint(CLASSES, (options["batch"],))
        self.networks = {}

    def train(self, number, steps):
        def step():
            if number not in self.networks:
                network = Network(self.options["paths"][number], self.options["channels"], self.options["cells"])
                network = network.to(memory_format=torch.channels_last)
                optimizer = torch.optim.SGD(network.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
                self.networks[number] = network, optimizer
            network, optimizer = self.networks[number]
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(self.images), self.labels).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()

        return step_worker.timed(step, steps)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step_worker.serve(Torch(options), len(options["paths"]), options["steps"])
