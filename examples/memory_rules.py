"""Two local rules that remember: arguments ending in _trace are states which a rule keeps from step to step. On the command line:

nchl evolve CartPole-v1 --rule examples/memory_rules.py:bcm --hidden 10
nchl evolve CartPole-v1 --rule examples/memory_rules.py:rewarded --hidden 10
"""

import torch

import nchl


def bcm(pre, post, weight, theta_post_trace, eta_post):
    """Hebb's product, reversed below a threshold that slides with the neuron's own activity (Bienenstock, Cooper and Munro 1982)."""
    change = eta_post * (pre * post * (post - theta_post_trace) - 0.01 * weight)
    return change, theta_post_trace + 0.1 * (post * post - theta_post_trace)


def rewarded(pre, post, reward, e_trace, A_pre, B_post, C_pre, C_post, D_pre, D_post, eta_pre, eta_post):
    """NcHL with a third factor: changes fade in a trace of each connection, and the reward writes the trace into the weight."""
    change = (eta_pre + eta_post) / 2 * (A_pre * pre + B_post * post + C_pre * C_post * pre * post + D_pre * D_post)
    e = 0.9 * e_trace + change
    return reward * e, e


def main() -> None:
    """A neuron with the BCM rule sees two patterns in turn, and comes to answer one of them alone."""
    net = nchl.PlasticGraph({"patterns": 2, "neuron": nchl.Group(1, activation=None)}, [("patterns", "neuron")], rule=bcm)
    net.set_hrules([0.01])
    net.reset([torch.tensor([[0.3, 0.2]])])
    patterns = torch.tensor([[1.0, 0.2], [0.2, 1.0]])
    print("answers before", [round(net.forward(x).item(), 2) for x in patterns])
    for step in range(6000):
        net.step(patterns[step % 2])
    print("answers after", [round(net.forward(x).item(), 2) for x in patterns])


if __name__ == "__main__":
    main()
