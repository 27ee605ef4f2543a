"""icrl/method_torch.py equals method.py, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.icrl import method

torch = pytest.importorskip("torch")
from papers.icrl import method_torch  # noqa: E402 - needs torch

OBS, ACT, N = 3, 2, 24


def pairs(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    obs = (rng.normal(size=(N, OBS)) + shift).astype(np.float32)
    return obs, np.tanh(rng.normal(size=(N, ACT))).astype(np.float32)


def networks(zero_last=False):
    params = method.cost_init(jax.random.key(0), OBS, ACT, (8, 8), zero_last)
    net = method_torch.CostNet(OBS, ACT, (8, 8), zero_last)
    with torch.no_grad():
        for layer, ours in zip(net.layers, params.layers, strict=True):
            layer.weight.copy_(torch.from_numpy(np.array(ours.w).T))
            layer.bias.copy_(torch.from_numpy(np.array(ours.b)))
    return params, net


def both(pair):
    return tuple(map(jnp.asarray, pair)), tuple(map(torch.from_numpy, pair))


def same(params_gradient, net):
    for ours, layer in zip(params_gradient.layers, net.layers, strict=True):
        for a, b in ((ours.w, layer.weight.grad.T), (ours.b, layer.bias.grad)):
            np.testing.assert_allclose(np.asarray(a), b.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reg", ["none", "l2_expert", "l2", "l1", "prior_learner"])
@pytest.mark.parametrize(
    ("out", "clip", "zero"),
    [
        ("leaky_relu", None, False),
        ("leaky_relu", None, True),
        ("linear_clip", (0.0, 20.0), False),
        ("sigmoid", None, False),
        ("neg_log_sigmoid", None, False),
    ],
)
def test_cost_loss(reg, out, clip, zero):
    params, net = networks(zero)
    (e, te), (le, tl), (p, tp) = both(pairs(0)), both(pairs(1, 0.5)), both(pairs(2))
    kwargs = {"out": out, "clip": clip}
    (loss, aux), gradient = jax.value_and_grad(method.cost_loss, has_aux=True)(
        params, e, le, 0.2, reg, **kwargs, prior=p
    )
    tloss, taux = method_torch.cost_loss(net, te, tl, 0.2, reg, **kwargs, prior=tp)
    tloss.backward()
    np.testing.assert_allclose(float(loss), tloss.item(), rtol=1e-5, atol=1e-6)
    for name in aux:
        np.testing.assert_allclose(float(aux[name]), taux[name].item(), rtol=1e-4, atol=1e-6)
    same(gradient, net)


def test_mecl_loss():
    params, net = networks()
    (e, te), (le, tl) = both(pairs(0)), both(pairs(1, 0.5))
    w = np.random.default_rng(3).uniform(0.5, 1.5, N).astype(np.float32)
    (loss, _), gradient = jax.value_and_grad(method.mecl_loss, has_aux=True)(
        params, e, le, jnp.asarray(w), 0.6
    )
    tloss, _ = method_torch.mecl_loss(net, te, tl, torch.from_numpy(w), 0.6)
    tloss.backward()
    np.testing.assert_allclose(float(loss), tloss.item(), rtol=1e-5)
    same(gradient, net)


@pytest.mark.parametrize("norm", [None, (0.5, 4.0), (-3.0, 1e-4)])
def test_corrected_reward(norm):
    rng = np.random.default_rng(0)
    r, c = rng.normal(size=N).astype(np.float32), rng.uniform(0, 2, N).astype(np.float32)
    state = tstate = None
    if norm is not None:
        state = method.RunningNorm(*map(jnp.float32, (*norm, 9)))
        tstate = tuple(map(torch.tensor, norm))
    ours = method.corrected_reward(jnp.asarray(r), jnp.asarray(c), 0.7, state)
    theirs = method_torch.corrected_reward(torch.tensor(r), torch.tensor(c), 0.7, tstate)
    np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_feasible_return():
    rng = np.random.default_rng(1)
    rew = rng.normal(size=(12, 40)).astype(np.float32)
    cost = (rng.random((12, 40)) < 0.05).astype(np.float32)
    mask = np.arange(12)[:, None] < rng.integers(1, 13, 40)
    ours = method.feasible_return(*map(jnp.asarray, (rew, cost, mask)))
    theirs = method_torch.feasible_return(*map(torch.from_numpy, (rew, cost, mask)))
    np.testing.assert_allclose(np.asarray(ours[0]), theirs[0].numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(ours[1]), theirs[1].numpy())
    for n in range(40):  # naively
        total = 0.0
        for t in range(12):
            if not mask[t, n] or cost[t, n] > 0:
                break
            total += rew[t, n]
        np.testing.assert_allclose(float(ours[0][n]), total, rtol=1e-4, atol=1e-5)


def test_adam_is_torchs_with_coupled_decay():  # T3
    params, net = networks()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-3)
    adam = method.adam_init(params)
    (e, te), (le, tl) = both(pairs(0)), both(pairs(1, 0.5))
    for _ in range(5):
        gradient = jax.grad(lambda p: method.cost_loss(p, e, le)[0])(params)
        params, adam = method.cost_step(params, adam, gradient, 1e-3)
        optimiser.zero_grad()
        method_torch.cost_loss(net, te, tl)[0].backward()
        optimiser.step()
    for ours, layer in zip(params.layers, net.layers, strict=True):
        np.testing.assert_allclose(
            np.asarray(ours.w), layer.weight.detach().numpy().T, rtol=1e-4, atol=2e-6
        )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net, p: method_torch.cost_loss(net, p, p, -1.0), "beta"),
        (lambda net, p: method_torch.cost_loss(net, p, p, 0.1, "prior_learner"), "prior"),
        (lambda net, p: method_torch.cost_apply(net, *p, "linear_clip"), "clip"),
        (lambda net, p: method_torch.corrected_reward(p[0], p[0], -1.0), "lambda"),
    ],
)
def test_bad_input(call, words):
    _, net = networks()
    with pytest.raises(ValueError, match=words):
        call(net, both(pairs(0))[1])
