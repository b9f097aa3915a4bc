"""Learn the numbers of a local rule by gradient descent, through whole episodes of rewiring.

Each task has two classes of points in space; which of them is called +1 is drawn anew. A point with its label is shown, then a point
without, ten times over: the network must find out while it acts. The same network without plasticity is trained alike.
"""

import torch
from torch import Tensor

import nchl

POINTS, STEPS, TASKS = 4, 20, 64


def tasks(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Observations `(STEPS, count, POINTS + 1)`, whose last number is the label or 0, and labels `(STEPS, count)`."""
    centre = torch.randn(count, POINTS, generator=generator)
    labels = torch.randint(2, (STEPS, count), generator=generator) * 2.0 - 1
    names = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    points = (labels * names)[..., None] * centre + 0.5 * torch.randn(STEPS, count, POINTS, generator=generator)
    shown = labels * (torch.arange(STEPS) % 2 == 0)[:, None]
    return torch.cat([points, shown[..., None]], dim=-1), labels


def answers(network: nchl.NcHL, observations: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs for the points without a label, each task an individual of the population, and the labels that were right."""
    network.reset()
    outputs = torch.stack([network.step(observation)[:, 0] for observation in observations])
    return outputs[1::2], labels[1::2]


def train(*, plastic: bool, iterations: int, seed: int = 0) -> float:
    """Accuracy on tasks that were not trained on; half of its answers are right by chance."""
    generator = torch.Generator().manual_seed(seed)
    settings = {"initial_weights": "coevolved", "differentiable": True}  # the genome holds the first weights too
    network = nchl.NcHL([POINTS + 1, 16, 1], population=TASKS, **settings)
    genome = (0.1 * torch.randn(network.nparams, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([genome], lr=0.02)
    network.plastic = plastic
    for _ in range(iterations):
        network.set_hrules(genome)  # one genome for all tasks
        outputs, right = answers(network, *tasks(TASKS, generator))
        loss = (outputs - right).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(genome, 1.0)
        optimizer.step()
    unseen = nchl.NcHL([POINTS + 1, 16, 1], population=1000, **settings)
    unseen.plastic = plastic
    with torch.no_grad():
        unseen.set_hrules(genome)
        outputs, right = answers(unseen, *tasks(1000, torch.Generator().manual_seed(seed + 1)))
    return (outputs.sign() == right).float().mean().item()


def main(iterations: int = 200) -> tuple[float, float]:
    """Train with plasticity and without, and print the accuracy of both on unseen tasks."""
    plastic, frozen = train(plastic=True, iterations=iterations), train(plastic=False, iterations=iterations)
    print(f"right answers on 1,000 unseen tasks: {plastic:.1%} with plasticity, {frozen:.1%} with frozen weights")
    return plastic, frozen


if __name__ == "__main__":
    main()
