"""Networks of your own: functions that return an `nn.Sequential` or a `PlasticGraph`. Run this file, or use it on the command line:

nchl evolve CarRacing-v3 --network examples/own_network.py:tiny --image-size 32 32
nchl evolve CartPole-v1 --network examples/own_network.py:looped
"""

import torch
from torch import nn

import nchl


def tiny(input_shape: tuple[int, ...], output_size: int) -> nn.Sequential:
    """A small convolutional network for images `(channels, height, width)`."""
    body = [nn.Conv2d(input_shape[0], 4, 3, stride=2, bias=False), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten()]
    with torch.no_grad():
        features = nn.Sequential(*body)(torch.zeros(1, *input_shape)).shape[1]
    return nn.Sequential(*body, nn.Linear(features, 16, bias=False), nn.Tanh(), nn.Linear(16, output_size, bias=False))


def looped(input_shape: tuple[int, ...], output_size: int) -> nchl.PlasticGraph:
    """A hidden group that sees itself one step later, and a skip connection that nothing moves."""
    groups = {"input": input_shape[0], "hidden": nchl.Group(16, activation="gelu"), "output": output_size}
    skip = nchl.Edge("input", "output", rule="static")
    return nchl.PlasticGraph(groups, [("input", "hidden"), ("hidden", "hidden", 1), ("hidden", "output"), skip], normalise="max")


def main() -> None:
    """Make the first plastic: four individuals see the same picture three times, and rewire after each look. Evolve the second."""
    shape = (3, 32, 32)
    net = nchl.from_module(tiny(shape, 2), shape, population=4, generator=torch.Generator().manual_seed(0))
    print(net.layout.describe())
    generator = torch.Generator().manual_seed(1)
    net.set_hrules(torch.randn(4, net.nparams, generator=generator) * 0.1)
    picture = torch.rand(4, *shape, generator=generator)
    for look in range(3):
        print(f"look {look}: {net.step(picture)[0].tolist()}")
    nchl.testing.check_network(looped((4,), 2))
    for generation in nchl.evolution("CartPole-v1", network=looped((4,), 2), population=16, generations=3, max_episode_steps=100):
        print(f"generation {generation.generation}: mean return {generation.mean:.1f}")


if __name__ == "__main__":
    main()
