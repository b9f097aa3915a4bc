"""Two local rules of your own. Run this file, or use them on the command line:

nchl evolve CartPole-v1 --rule examples/own_rule.py:oja --hidden 10
nchl evolve CartPole-v1 --rule examples/own_rule.py:steered --hidden 10
"""

import torch

import nchl


def oja(pre, post, weight, eta_post):
    """Hebbian growth with a decay that keeps the weights of a unit bounded (Oja 1982): dw = eta a_j (a_i - a_j w)."""
    return eta_post * post * (pre - post * weight)


def steered(pre, post, c_pre, c_post, d_pre, d_post):
    """Hebb's product, and a drift; evolution sets the sign and the size of both for each pair of neurons, by numbers of the neurons."""
    return c_pre * c_post * pre * post + d_pre * d_post


def main() -> None:
    """Watch one unit's weights settle into a direction of length about 1: the first principal component of what it sees."""
    net = nchl.PlasticMLP([2, 1], oja, generator=torch.Generator().manual_seed(0))
    print(net.layout.describe())
    net.set_hrules(torch.full((net.nparams,), 0.05))
    generator = torch.Generator().manual_seed(1)
    net.reset([torch.tensor([[0.1, -0.1]])])
    for _ in range(4000):
        # Small observations, on which tanh is nearly linear, much longer along (1, 1) than across it.
        along, across = torch.randn(2, generator=generator) * torch.tensor([0.3, 0.05])
        net.step(torch.stack([along + across, along - across]))
    weight = net.weights[0][0]
    print(f"weights {weight.tolist()}, length {weight.norm():.2f}")


if __name__ == "__main__":
    main()
