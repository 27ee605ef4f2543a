"""`method_torch.py` equals `method.py`: every name, values and gradients, to 1e-5 and better."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from papers.superiority import method  # noqa: E402
from papers.superiority import method_torch as twin  # noqa: E402

A, M = 3, 12
RISKS = {
    "mean": lambda lib: lib.Mean(),
    "cvar": lambda lib: lib.CVaR(0.37),
    "official": lambda lib: lib.CVaR(0.37, exact=False),
    "comonotone": lambda lib: lib.CVaR(0.37, order="comonotone"),
    "distortion": lambda lib: lib.Distortion(lambda tau: 2 * (1 - tau)),
}


def numbers(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape), np.float32) for shape in shapes]


def both(name, arrays, rest, options, wrt):
    """Value and gradients of a loss in both libraries."""

    def in_jax(*xs):
        out = getattr(method, name)(*xs, *rest, **{k: v(method) for k, v in options.items()})
        return out if isinstance(out, tuple) else (out, {})

    (value, aux), gradients = jax.jit(
        jax.value_and_grad(in_jax, argnums=wrt, has_aux=True)
    )(*map(jnp.asarray, arrays))  # fmt: skip
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    out = getattr(twin, name)(*tensors, *rest, **{k: v(twin) for k, v in options.items()})
    loss, aux_torch = out if isinstance(out, tuple) else (out, {})
    loss.backward()
    assert aux.keys() == aux_torch.keys()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-5)
    for key, entry in aux.items():
        np.testing.assert_allclose(aux_torch[key].detach().numpy(), entry, rtol=1e-5)
    for i, gradient in zip(wrt, gradients, strict=True):
        mine = np.zeros_like(arrays[i]) if tensors[i].grad is None else tensors[i].grad.numpy()
        np.testing.assert_allclose(mine, gradient, rtol=1e-5, atol=1e-5)


def fixed(**options):
    return {k: (lambda _, v=v: v) for k, v in options.items()}


def test_same_public_names_with_the_same_arguments():
    def public(lib):
        own = {n: f for n, f in vars(lib).items() if getattr(f, "__module__", "") == lib.__name__}
        return {n: tuple(inspect.signature(f).parameters) for n, f in own.items()
                if callable(f) and n[0] != "_"}  # fmt: skip

    assert public(method) == public(twin) and len(public(method)) >= 12


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("seed", range(3))
def test_dsup_loss(risk, seed):
    arrays = numbers(seed, (A,), (A, M), (M,), (M,))
    options = fixed(h=0.2, q=0.4, gamma=0.8, kappa=(0.0, 0.5, 1.0)[seed], shift=seed != 1)
    rest = (seed, 0.7, float(seed != 2))
    both("dsup_loss", arrays, rest, options | {"risk": RISKS[risk]}, (0, 1, 2, 3))


@pytest.mark.parametrize("risk", ["mean", "cvar"])
@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_qrdqn_loss(risk, mask):
    arrays = numbers(5, (A, M), (A, M))
    options = fixed(h=0.2, gamma=0.8, kappa=0.5) | {"risk": RISKS[risk]}
    both("qrdqn_loss", arrays, (1, 0.7, mask), options, (0, 1))


@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_dau_loss(mask):
    arrays = numbers(6, (A,), (), ())
    both("dau_loss", arrays, (1, 0.7, mask), fixed(h=0.2, gamma=0.8), (0, 1, 2))


@pytest.mark.parametrize("kappa", [0.0, 0.3, 50.0])
def test_quantile_huber_with_ties(kappa):
    pred, target = numbers(7, (M,), (M + 3,))
    pred, target = pred.round(1), target.round(1)
    pred[:4] = target[:4]
    both("quantile_huber", [pred, target], (), fixed(kappa=kappa), (0, 1))


@pytest.mark.parametrize("risk", RISKS)
def test_risks_and_transformations(risk):
    zeta, eta, adv = numbers(8, (4, A, M), (4, A, M), (4, A))
    tensors = [torch.tensor(x) for x in (zeta, eta, adv)]

    def equal(mine, theirs):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-5, atol=1e-6)

    equal(RISKS[risk](twin)(tensors[0]), RISKS[risk](method)(zeta))
    equal(twin.comonotone_difference(*tensors[:2]), method.comonotone_difference(zeta, eta))
    equal(twin.rescale(tensors[0], 0.1, 0.5), method.rescale(zeta, 0.1, 0.5))
    equal(
        twin.advantage_shift(tensors[0], tensors[2], 0.1, 0.5),
        method.advantage_shift(zeta, adv, 0.1, 0.5),
    )
    equal(twin.midpoints(7), method.midpoints(7))


def test_centre_is_exactly_zero_at_the_greedy_action():
    q, psi = (torch.tensor(x) for x in numbers(9, (A,), (A, M)))
    adv, superiority, a_star = twin.centre(q, psi, 0.1, 0.5, True, twin.CVaR(0.3))
    assert adv[a_star] == 0 and not superiority[a_star].any()


def test_losses_batch_with_vmap():
    q, psi, eta, target = (torch.tensor(x) for x in numbers(10, (5, A), (5, A, M), (5, M), (5, M)))
    a_t, r_t, mask = torch.tensor([0, 1, 2, 1, 0]), torch.linspace(0, 1, 5), torch.ones(5)

    def loss(*x):
        return twin.dsup_loss(*x, h=0.2, q=0.5, gamma=0.9, kappa=1.0, shift=True,
                              risk=twin.Mean())[0]  # fmt: skip

    columns = (q, psi, eta, target, a_t, r_t, mask)
    batched = torch.vmap(loss)(*columns)
    single = torch.stack([loss(*row) for row in zip(*columns, strict=True)])
    torch.testing.assert_close(batched, single)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: twin.midpoints(0), "m >= 1"),
        (lambda: twin.quantile_huber(torch.ones(2), torch.ones(2), -1.0), "kappa"),
        (lambda: twin.CVaR(0.0), "alpha"),
        (lambda: twin.rescale(torch.ones(2), 0.0, 0.5), "must be positive"),
        (lambda: twin.dau_loss(torch.ones(2), torch.ones(()), torch.ones(()), 0, 1.0, 1.0, h=0.5,
                               gamma=2.0), "gamma"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_whole_numbers_are_not_cut_off():
    assert float(twin.CVaR(0.3)(torch.tensor([1, 2, 5]))) == pytest.approx(1.0)
    assert float(twin.Mean()(torch.tensor([1, 2]))) == 1.5
    loss, _ = twin.dau_loss(torch.tensor([1.0, 3.0]), torch.tensor(2.0), torch.tensor(0),
                            torch.tensor(1), 0.75, 0.0, h=0.25, gamma=0.9)  # fmt: skip
    assert float(loss) == pytest.approx(0.5 * (2 - 0.75) ** 2)
