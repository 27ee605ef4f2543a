"""The PyTorch face of the method: equal to the JAX one, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.sfm import method

torch = pytest.importorskip("torch", reason="torch is not installed (uv sync --extra torch)")

GAMMA, DECAY = 0.97, 0.98


def drawn(*shapes):
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def target_loss(m, psi, phi, following, clip):
    return m.sf_critic_loss(psi, m.sf_td_target(phi, following, GAMMA, clip))


def actor(m, phi, tail, psi_sa, following, ema, fix):
    """The whole actor step: expert sum, learner sum, both averages, loss."""
    _, expert = m.ema_update(m.expert_sf(phi, GAMMA, tail), ema, DECAY, 4)
    psi_pi = m.learner_sf(psi_sa, following, GAMMA)
    average, _ = m.ema_update(psi_pi, ema, DECAY, 2)
    return m.sfm_actor_loss(expert, psi_pi, average, GAMMA, fix)


def normalised(m, x):
    return (m.avg_l1_norm(x) * m.l2_sphere(x)).sum()


def gap(m, psi, phi):
    return m.feature_gap(psi, phi, GAMMA)


@pytest.mark.parametrize(
    ("function", "shapes", "rest"),
    [
        (target_loss, [(2, 5, 3), (5, 3), (2, 5, 3)], (None,)),
        (target_loss, [(2, 5, 3), (5, 3), (2, 5, 3)], ((-0.2, 0.3),)),
        (actor, [(7, 3), (3,), (5, 3), (5, 3), (3,)], (True,)),
        (actor, [(7, 3), (3,), (5, 3), (5, 3), (3,)], (False,)),
        (normalised, [(4, 6)], ()),
        (gap, [(3,), (7, 3)], ()),
    ],
    ids=["critic", "critic clipped", "actor", "actor without the fix", "norms", "gap"],
)
def test_equal_with_gradients(function, shapes, rest):
    from papers.sfm import method_torch

    arrays = drawn(*shapes)
    places = tuple(range(len(arrays)))
    ours, slopes = jax.value_and_grad(lambda *x: function(method, *x, *rest), places)(
        *map(jnp.asarray, arrays)
    )
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    theirs = function(method_torch, *tensors, *rest)
    np.testing.assert_allclose(theirs.detach().numpy(), ours, rtol=2e-5)
    found = torch.autograd.grad(theirs, tensors, allow_unused=True)
    for slope, other in zip(slopes, found, strict=True):
        other = np.zeros_like(slope) if other is None else other.numpy()
        np.testing.assert_allclose(other, slope, rtol=2e-4, atol=1e-6)


def test_bad_input_gets_the_same_sentences():
    from papers.sfm import method_torch

    for m, array in ((method, jnp.asarray), (method_torch, torch.tensor)):
        phi, tail = array([[1.0], [2.0]]), array([1.0])
        with pytest.raises(ValueError, match=r"at least 3 states here; got 2"):
            m.expert_sf(phi, 0.9, tail)
        for gamma in (1.0, -0.1):
            with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\)"):
                m.expert_sf(phi, gamma)
            with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\)"):
                m.learner_sf(phi, phi, gamma)
            with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\)"):
                m.sfm_actor_loss(tail, tail, tail, gamma)
        with pytest.raises(ValueError, match="decay must be in"):
            m.ema_update(tail, tail, 1.0, 1)
        with pytest.raises(ValueError, match="debias must be official or correct"):
            m.debias_count(1, 2, "both")
