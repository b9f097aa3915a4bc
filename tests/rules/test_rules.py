from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nchl
from nchl.errors import InvalidArgument, ShapeError, UnknownName
from nchl.rules import ABCD, NCHL, Rule, get, load
from reference.mlp import nchl_delta

OJA = "def oja(pre, post, weight, eta_post):\n    return eta_post * post * (pre - post * weight)\n"


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_neuron_centric_is_the_equation_per_connection():
    pre, post, rules_in, rules_out = random(3), random(2, seed=1), random(3, 5, seed=2), random(2, 5, seed=3)
    delta = nchl.rules.neuron_centric(pre, post, rules_in, rules_out)
    names = ("A", "B", "C", "D", "eta")
    for j in range(2):
        for i in range(3):
            mine, other = dict(zip(names, rules_in[i].tolist(), strict=True)), dict(zip(names, rules_out[j].tolist(), strict=True))
            assert float(delta[j, i]) == pytest.approx(nchl_delta(mine, other, float(pre[i]), float(post[j])), rel=1e-13)


def test_abcd_is_the_equation_per_connection():
    pre, post, rules = random(3), random(2, seed=1), random(2, 3, 5, seed=2)
    delta = nchl.rules.abcd(pre, post, rules)
    for j in range(2):
        for i in range(3):
            A, B, C, D, eta = rules[j, i].tolist()
            a_i, a_j = float(pre[i]), float(post[j])
            assert float(delta[j, i]) == pytest.approx(eta * (A * a_i + B * a_j + C * a_i * a_j + D), rel=1e-13)


def test_leading_axes_are_a_loop():
    pre, post = random(4, 3), random(4, 2, seed=1)
    rules_in, rules_out, rules = random(4, 3, 5, seed=2), random(4, 2, 5, seed=3), random(4, 2, 3, 5, seed=4)
    neuronal, synaptic = nchl.rules.neuron_centric(pre, post, rules_in, rules_out), nchl.rules.abcd(pre, post, rules)
    for p in range(4):
        assert torch.equal(neuronal[p], nchl.rules.neuron_centric(pre[p], post[p], rules_in[p], rules_out[p]))
        assert torch.equal(synaptic[p], nchl.rules.abcd(pre[p], post[p], rules[p]))


def test_arguments_are_not_mutated():
    arguments = [random(3), random(2, seed=1), random(3, 5, seed=2), random(2, 5, seed=3)]
    copies = [a.clone() for a in arguments]
    nchl.rules.neuron_centric(*arguments)
    assert all(torch.equal(a, b) for a, b in zip(arguments, copies, strict=True))


def test_a_signature_is_a_declaration():
    assert NCHL.names == ("A", "B", "C", "D", "eta")
    assert NCHL.pre == ("A", "C", "D", "eta")
    assert NCHL.post == ("B", "C", "D", "eta")
    assert ABCD.synapse == ("A", "B", "C", "D", "eta")
    assert not NCHL.uses_weight


def test_a_rule_in_a_file(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(OJA)
    rule = load(f"{file}:oja")
    assert rule.uses_weight
    assert rule.post == ("eta",)
    assert get(f"{file}:oja").name == "oja"
    assert get(rule) is rule
    assert get(rule.function) == rule


def test_a_file_is_run_once_until_it_changes(tmp_path: Path):
    file, runs = tmp_path / "mine.py", tmp_path / "runs"
    source = f"with open({str(runs)!r}, 'a') as runs:\n    runs.write('x')\n{OJA}"
    file.write_text(source)
    rule = get(f"{file}:oja")
    assert get(f"{tmp_path}/../{tmp_path.name}/mine.py:oja") == rule
    assert runs.read_text() == "x"
    file.write_text(source.replace("eta_post * post", "eta_post + post"))  # as long, and in the same second
    other = get(f"{file}:oja")
    assert other != rule
    ones = dict.fromkeys(("pre", "post", "weight", "eta_post"), torch.ones(1, 1))
    assert other.function(**ones | {"weight": torch.zeros(1, 1)}).item() == 2
    assert runs.read_text() == "xx"
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda pre: None, "return is missing"),
        (lambda pre: 1.0, "got float"),
        (lambda pre: torch.outr(pre, pre), r"failed when tried on weights of shape \(2, 3, 5\) .AttributeError.*\)$"),
        (lambda pre, post: torch.zeros(5), r"got shape \(5,\)"),
        (lambda pre, post, eta_post: eta_post * pre.squeeze() * post.squeeze(), "RuntimeError.*; write it for one connection"),
        (lambda pre, post, eta_post: (eta_post * pre * post).sum(), r"to broadcast to shape \(2, 3, 5\), got shape \(\); write it for one"),
        (lambda pre: pre * 1j, "the change as floating-point numbers, got torch.complex64"),
        (
            lambda pre, post: (pre * post).long(),
            r"the change as floating-point numbers, got torch.int64; convert it, as in `.to\(pre.dtype\)`",
        ),
        (lambda pre, post: pre > post, "the change as floating-point numbers, got torch.bool; convert it"),
        (lambda pre, n_pre_trace: (pre, (n_pre_trace > 0).int()), "the new n_pre_trace as floating-point numbers, got torch.int32"),
        (lambda pre: torch.tensor(0.1), r"got shape \(\).*write it for one connection"),
        (lambda pre, post: (pre - pre.mean(0)) * post, "to follow from that connection alone"),
        (lambda weight: weight - weight.mean(0), "to follow from that connection alone"),
        (lambda pre, post: pre + 0.01 * torch.rand_like(post), "random numbers"),
        (lambda post: post - post.mean(-2, keepdim=True), "to follow from that connection alone"),
        (lambda pre, post: (pre * post).sort(-1).values, "to follow from that connection alone"),
        (lambda pre, post: torch.ones(4, 6) * pre * post, "such as a mask, cannot be part"),
        (lambda pre, post: post.add_(1) * pre, r"'post' in place, .*; write `post = post \+ ...` instead of `post \+= ...`"),
        (lambda weight: weight.clamp_(-1, 1) * 0, "'weight' in place"),
        (lambda pre, e_trace: (pre, e_trace.mul_(0.9)), "'e_trace' in place"),
        (None, "a rule is a Python function"),
        (torch.mul, "a rule is a Python function"),
    ],
)
def test_a_function_that_is_no_rule_is_refused(rule, message: str):
    with pytest.raises(InvalidArgument, match=message):
        get(rule)


def test_a_rule_that_changes_an_argument_is_refused_in_inference_mode_too():
    def doubled(pre, post):
        change = pre * post
        change *= 2  # its own tensor
        return change

    with torch.inference_mode():
        assert get(doubled).state == ("pre", "post")
        with pytest.raises(InvalidArgument, match="changes its argument 'weight' in place"):
            get(lambda weight: weight.mul_(0.9))


def test_a_rule_may_make_anything_of_numbers():
    assert get(lambda pre, eta_post: eta_post * torch.log(pre - 2)).post == ("eta",)
    assert get(lambda pre, eta_post: eta_post / (pre - pre)).post == ("eta",)


@pytest.mark.parametrize(
    "rule",
    [
        lambda weight: -0.1 * weight,
        lambda eta_post: eta_post,
        lambda A_pre: A_pre,
        lambda A_synapse: A_synapse,
        lambda pre: pre,
        lambda pre: torch.full((1, 1), 0.1),
        lambda post: torch.sigmoid(post),
        lambda pre, post: torch.where(pre > 0.5, pre, 0.1 * post),
    ],
)
def test_a_rule_may_leave_anything_out(rule):
    net = nchl.PlasticMLP([3, 4, 2], rule, population=2)
    net.set_hrules(torch.ones(net.nparams))
    before = [weight.clone() for weight in net.weights]
    for x in (torch.ones(2, 3), torch.ones(2, 6, 3)):  # a batch, too
        net.reset(before)
        net.step(x)
        assert not any(torch.equal(a, b) for a, b in zip(before, net.weights, strict=True))


def test_shapes_that_do_not_fit_are_named():
    pre, post, rules_in, rules_out = random(3), random(2), random(3, 5), random(2, 5)
    neuronal, synaptic = nchl.rules.neuron_centric, nchl.rules.abcd
    for call, message in (
        (lambda: neuronal(pre, post, rules_in[:, :4], rules_out), r"rules_in: expected \(..., 3, 5\).*got \(3, 4\)"),
        (lambda: neuronal(pre, post, rules_in, rules_out[:1]), r"rules_out: expected \(..., 2, 5\).*got \(1, 5\)"),
        (lambda: neuronal(pre, post, rules_out, rules_in), r"rules_in: expected"),
        (lambda: neuronal(pre.expand(4, 3), post.expand(6, 2), rules_in, rules_out), r"\(4,\) of pre, \(6,\) of post"),
        (lambda: synaptic(pre, post, random(2, 1, 5)), r"rules: expected \(..., 2, 3, 5\).*got \(2, 1, 5\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            call()


def test_known_names():
    assert get("nchl") is NCHL
    assert get("hl") is ABCD
    with pytest.raises(UnknownName, match="did you mean 'nchl'"):
        get("nhcl")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(pre, wight): return pre", "cannot tell what argument 'wight' is: did you mean 'weight'\\? expected pre"),
        ("def f(pre, lr): return pre", "cannot tell what argument 'lr' is: expected pre"),
        ("def f(pre, eta_post=1.0): return pre", "without defaults.*, eta_post = 1.0, or let evolution find it: eta_post$"),
        ("def f(pre, lr: float=0.1): return pre", "; write the constant in the body, lr = 0.1, or let evolution find it: lr_post$"),
        ("def f(*args): return 0", "plain arguments"),
        ("def f(): return 0", "takes no argument"),
        ("f = 3", "holds no function 'f'"),
        ("def g(pre): return pre", "holds no function 'f'"),
        ("import nowhere_at_all", "could not be run"),
        ("def f(pre:", "could not be run"),
    ],
)
def test_a_file_without_a_rule_is_refused(tmp_path: Path, source: str, message: str):
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(InvalidArgument, match=message):
        load(f"{file}:f")


def test_a_place_that_is_none():
    with pytest.raises(InvalidArgument, match="no file"):
        get("nowhere.py:f")
    with pytest.raises(InvalidArgument, match=r"'some/mine\.py' is a file: name the function too, for example some/mine\.py:mine"):
        get("some/mine.py")
    with pytest.raises(InvalidArgument, match=r"FILE\.py:NAME"):
        load("nowhere.py")


def test_from_function_takes_a_lambda():
    assert Rule.from_function(lambda pre, eta_synapse: eta_synapse * pre).synapse == ("eta",)
