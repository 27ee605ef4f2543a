"""Networks on all pairs at once against one pair at a time in NumPy; what structure implies."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.groups.networks import (
    ARCHS,
    ModelSpec,
    additive_parts,
    attention_weights,
    embedding_gradients,
    forward_embeddings,
    forward_grid,
    forward_pairs,
    init,
    parameter_count,
    readout,
    residual_logits,
)

N = 5
PAIRS = np.stack(np.divmod(np.arange(N * N), N), 1).astype(np.int32)
SPECS = {
    "onehot": ModelSpec("onehot_concat", N, width=6),
    "onehot, 3 layers": ModelSpec("onehot_concat", N, width=6, depth=3, out_bias=True),
    "concat": ModelSpec("embed_concat", N, 4, 6),
    "concat, untied, 2 layers": ModelSpec("embed_concat", N, 4, 6, depth=2, tie_embed=False),
    "concat, quadratic": ModelSpec("embed_concat", N, 4, 6, act="quadratic", out_bias=True),
    "add": ModelSpec("embed_add", N, 4, 6),
    "add, untied, 4 layers": ModelSpec("embed_add", N, 4, 6, depth=4, tie_embed=False),
    "uniform": ModelSpec("attn_uniform", N, 4, 6, heads=2),
    "uniform, 2 layers": ModelSpec("attn_uniform", N, 4, 6, heads=2, depth=2, out_bias=True),
    "uniform, 2 blocks": ModelSpec("attn_uniform", N, 4, 6, heads=2, blocks=2),
    "attention": ModelSpec("attn", N, 4, 6, heads=2),
    "attention, 2 layers": ModelSpec("attn", N, 4, 6, heads=1, depth=2, out_bias=True),
    "attention, 2 blocks": ModelSpec("attn", N, 4, 6, heads=2, blocks=2, depth=2, out_bias=True),
}
CASES = [
    (name, alpha)
    for name, spec in SPECS.items()
    for alpha in ((0.0, 0.3, 1.0) if spec.arch == "attn" else (None,))
]


@cache
def params_of(spec: ModelSpec) -> dict:
    """Fresh parameters, every one (also the biases) moved at random."""
    leaves, shape = jax.tree.flatten(init(jax.random.key(1), spec))
    rng = np.random.default_rng(2)
    moved = [x + jnp.asarray(rng.normal(size=x.shape) / 4, jnp.float32) for x in leaves]
    return jax.tree.unflatten(shape, moved)


grid = jax.jit(forward_grid, static_argnames=("spec", "edit"))
pairs = jax.jit(forward_pairs, static_argnames="spec")
gradients = jax.jit(embedding_gradients, static_argnames="spec")


# One pair at a time, in NumPy ---------------------------------------------------------------------


def naive(p, spec, a, b, alpha):
    """Pre-activations of every hidden layer (of the last token) and logits of one pair, float64."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), p)
    act = (lambda x: x**2) if spec.act == "quadratic" else (lambda x: np.maximum(x, 0))
    pres = []

    def mlp(first, hidden):
        pres.append(first)
        for layer in hidden:
            pres.append(act(pres[-1]) @ layer["W"] + layer["b"])
        return act(pres[-1])

    if not spec.is_transformer:
        if spec.arch == "onehot_concat":
            first = p["W_a"][a] + p["W_b"][b]
        else:
            x_a = p["E" if spec.tie_embed else "E_a"][a]
            x_b = p["E" if spec.tie_embed else "E_b"][b]
            added = spec.arch == "embed_add"
            first = (x_a + x_b) @ p["W"] if added else x_a @ p["W_a"] + x_b @ p["W_b"]
        logits = mlp(first + p["b"], p["hidden"]) @ p["U"]
        return pres, logits + p.get("c", 0)
    x = np.stack([p["E"][a] + p["P"][0], p["E"][b] + p["P"][1]])
    mix = 0.0 if alpha is None else alpha
    kept = []
    for block in p["blocks"]:
        y = np.zeros_like(x)
        for t in range(2):
            r = x[t].copy()
            for h in range(spec.heads):
                q, k, v = x[t] @ block["W_Q"][h], x @ block["W_K"][h], x @ block["W_V"][h]
                scores = np.exp(k @ q / np.sqrt(spec.d_embed / spec.heads))
                weights = mix * scores / scores.sum() + (1 - mix) * np.ones(2)
                r += weights @ v @ block["W_O"][h]
            pres.clear()
            post = mlp(r @ block["W_in"] + block["b_in"], block["hidden"])
            y[t] = r + post @ block["W_out"] + block["b_out"]
        kept += pres  # of the last token
        x = y
    return kept, x[1] @ p["W_U"] + p.get("c", 0)


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_all_pairs_at_once_and_pair_by_pair_are_the_network(name, alpha):
    spec = SPECS[name]
    p = params_of(spec)
    out = grid(p, spec, alpha)
    assert len(out.pre) == len(out.post) == spec.depth * spec.blocks
    for a, b in PAIRS:
        pres, logits = naive(p, spec, a, b, alpha)
        np.testing.assert_allclose(out.logits[a, b], logits, rtol=2e-5, atol=2e-5)
        for layer, pre in enumerate(pres):
            np.testing.assert_allclose(out.pre[layer][a, b], pre, rtol=1e-5, atol=1e-5)
            post = pre**2 if spec.act == "quadratic" else np.maximum(pre, 0)
            np.testing.assert_allclose(out.post[layer][a, b], post, rtol=2e-5, atol=1e-5)
    plain = np.asarray(pairs(p, spec, PAIRS, alpha)).reshape(N, N, N)
    np.testing.assert_allclose(out.logits, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def test_pairs_come_in_any_order_and_number():
    spec = SPECS["attention"]
    some = np.array([[3, 1], [0, 4], [3, 1]], np.int32)
    logits = pairs(params_of(spec), spec, some, 0.3)
    whole = grid(params_of(spec), spec, 0.3).logits
    np.testing.assert_allclose(logits, whole[some[:, 0], some[:, 1]], rtol=1e-5, atol=1e-5)


# Structure ----------------------------------------------------------------------------------------


def second_difference(pre):
    """max |pre[a, b] - pre[a', b] - pre[a, b'] + pre[a', b']|."""
    pre = np.asarray(pre)
    return np.abs(pre - pre[:1] - pre[:, :1] + pre[:1, :1]).max()


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.additive])
def test_additive_first_layers(name):
    spec = SPECS[name]
    p = params_of(spec)
    a, b, bias = additive_parts(p, spec)
    pre = grid(p, spec, None).pre[0]
    np.testing.assert_allclose(pre, a[:, None] + b[None] + bias, rtol=1e-5, atol=1e-5)
    assert second_difference(pre) < 1e-5
    if spec.arch == "embed_add" and spec.tie_embed:
        np.testing.assert_array_equal(a, b)


def test_attention_is_additive_only_without_its_mix():
    spec = SPECS["attention"]
    uniform = SPECS["uniform"]
    p = params_of(spec)
    none, full = grid(p, spec, 0.0), grid(p, spec, 1.0)
    assert second_difference(none.pre[0]) < 1e-5 and second_difference(full.pre[0]) > 1e-2
    np.testing.assert_allclose(none.logits, grid(p, uniform).logits, rtol=1e-5, atol=1e-5)
    with pytest.raises(BadInput, match="first layer of attn with blocks=1 is no sum"):
        additive_parts(p, spec)


def test_attention_weights():
    spec = SPECS["attention"]
    p = params_of(spec)
    np.testing.assert_array_equal(attention_weights(p, spec, 0.0), np.ones((N, N, 2, 2)))
    for alpha in (0.3, 1.0):
        weights = np.asarray(attention_weights(p, spec, alpha))
        np.testing.assert_allclose(weights.sum(-1), 2 - alpha, rtol=1e-6)
        assert weights.min() >= 1 - alpha
    x_0, x_1 = p["E"][1] + p["P"][0], p["E"][4] + p["P"][1]
    block = p["blocks"][0]
    q = x_1 @ block["W_Q"][1]
    scores = jnp.stack([q @ (x @ block["W_K"][1]) for x in (x_0, x_1)]) / np.float32(np.sqrt(2))
    np.testing.assert_allclose(weights[1, 4, 1], jax.nn.softmax(scores), rtol=1e-5)
    with pytest.raises(BadInput, match="embed_add has no attention"):
        attention_weights(params_of(SPECS["add"]), SPECS["add"], 0.5)


@pytest.mark.parametrize(("name", "alpha"), [("concat", None), ("concat, quadratic", None),
                         ("uniform, 2 layers", None), ("attention, 2 blocks", 0.3)])  # fmt: skip
def test_logits_are_readout_plus_residual(name, alpha):
    spec = SPECS[name]
    p = params_of(spec)
    out = grid(p, spec, alpha)
    u, c = readout(p, spec)
    rest = residual_logits(p, spec, alpha)
    np.testing.assert_allclose(out.post[-1] @ u + c + rest, out.logits, rtol=1e-5, atol=1e-5)
    if not spec.is_transformer:
        assert np.abs(rest).max() < 1e-5


def test_sums_of_embeddings_have_symmetric_gradients():
    triples = np.random.default_rng(0).integers(N, size=(20, 3)).astype(np.int32)
    spec = SPECS["add"]
    g_a, g_b = gradients(params_of(spec), spec, triples)
    np.testing.assert_array_equal(g_a, g_b)
    assert (np.linalg.norm(g_a, axis=1) > 0).any()
    other = SPECS["attention"]
    g_a, g_b = gradients(params_of(other), other, triples, 1.0)
    cosine = (g_a * g_b).sum(1) / np.linalg.norm(g_a, axis=1) / np.linalg.norm(g_b, axis=1)
    assert cosine.mean() < 0.999


def test_embedding_gradients_against_finite_differences():
    spec = SPECS["attention"]
    p = params_of(spec)
    a, b, c = 3, 1, 2
    g_a, g_b = embedding_gradients(p, spec, np.array([[a, b, c]], np.int32), 0.3)
    x_a, x_b = p["E"][a], p["E"][b]
    logits = jax.jit(lambda s, t: forward_embeddings(p, spec, s, t, 0.3))
    for i in range(spec.d_embed):
        h = np.zeros(spec.d_embed, np.float32)
        h[i] = 1e-2

        def logit(s, t, h=h):
            return logits(x_a + np.float32(s) * h, x_b + np.float32(t) * h)[c]

        np.testing.assert_allclose(g_a[0, i], (logit(1, 0) - logit(-1, 0)) / 2e-2, atol=2e-3)
        np.testing.assert_allclose(g_b[0, i], (logit(0, 1) - logit(0, -1)) / 2e-2, atol=2e-3)


# Editing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "alpha"), [("concat, untied, 2 layers", None),
                         ("attention, 2 layers", 1.0), ("attention, 2 blocks", 0.3)])  # fmt: skip
def test_an_edit_reaches_everything_downstream(name, alpha):
    spec = SPECS[name]
    p = params_of(spec)
    out = grid(p, spec, alpha)
    calls = []

    def keep(layer, pre):
        calls.append((layer, pre.shape))
        return pre

    same = forward_grid(p, spec, alpha, keep)
    np.testing.assert_allclose(same.logits, out.logits, rtol=1e-5, atol=1e-5)
    layers = [0, 1] if spec.blocks == 1 else [0, 1, 0, 1, 2, 3]  # two tokens in the first block
    assert calls == [(layer, (N, N, spec.width)) for layer in layers]

    def cut(layer, pre):
        return pre.at[..., :3].set(-1.0) if layer == 1 else pre

    edited = forward_grid(p, spec, alpha, cut)
    np.testing.assert_array_equal(edited.pre[0], same.pre[0])
    np.testing.assert_array_equal(edited.post[1][..., :3], np.zeros((N, N, 3)))
    if spec.blocks == 1:
        u, _ = readout(p, spec)
        lost = out.post[1][..., :3] @ u[:3]
        np.testing.assert_allclose(edited.logits, out.logits - lost, rtol=1e-4, atol=1e-5)
    else:
        assert np.abs(edited.logits - out.logits).max() > 1e-3


def test_relu_has_slope_zero_at_zero():
    spec = SPECS["onehot"]
    p = jax.tree.map(jnp.zeros_like, params_of(spec)) | {"U": params_of(spec)["U"]}
    slope = jax.grad(lambda q: jnp.sum(forward_grid(q, spec).logits))(p)
    np.testing.assert_array_equal(slope["b"], np.zeros(6))


# Parameters ---------------------------------------------------------------------------------------


def variance(leaf):
    return float(np.mean(np.asarray(leaf, np.float64) ** 2))


def test_initial_variances():
    key = jax.random.key(0)
    mlp = init(key, ModelSpec("embed_concat", 40, 50, 60, depth=2))
    assert set(mlp) == {"E", "W_a", "W_b", "b", "hidden", "U"}
    expected = {"E": 1 / 50, "W_a": 1 / 100, "W_b": 1 / 100, "U": 1 / 60}
    for name, value in expected.items():
        assert variance(mlp[name]) == pytest.approx(value, rel=0.15)
    assert variance(mlp["hidden"][0]["W"]) == pytest.approx(1 / 60, rel=0.15)
    assert variance(mlp["b"]) == 0
    he = init(key, ModelSpec("embed_add", 40, 50, 60, init="he", tie_embed=False))
    assert variance(he["E_a"]) == pytest.approx(2 / 40, rel=0.15)
    assert variance(he["W"]) == pytest.approx(2 / 50, rel=0.15)
    assert np.abs(he["E_a"] - he["E_b"]).max() > 0.1
    net = init(key, ModelSpec("attn", 40, 32, 60, heads=4))
    block = net["blocks"][0]
    expected = {"W_Q": 1 / 32, "W_K": 1 / 32, "W_V": 1 / 32, "W_O": 1 / 32, "W_in": 1 / 60,
                "W_out": 1 / 32}  # fmt: skip
    for name, value in expected.items():
        assert variance(block[name]) == pytest.approx(value, rel=0.15)
    assert variance(net["W_U"]) == pytest.approx(1 / 40, rel=0.15)
    assert variance(net["E"]) == pytest.approx(1 / 32, rel=0.15)


def test_parameter_counts_by_hand():
    assert parameter_count(ModelSpec("onehot_concat", 5, width=6)) == 2 * 5 * 6 + 6 + 6 * 5
    spec = ModelSpec("embed_concat", 5, 4, 6, depth=2, tie_embed=False, out_bias=True)
    assert parameter_count(spec) == 2 * 5 * 4 + 2 * 4 * 6 + 6 + (36 + 6) + 6 * 5 + 5
    block = 4 * 4 * 4 + (4 * 6 + 6) + (6 * 4 + 4)
    spec = ModelSpec("attn", 5, 4, 6, heads=2, blocks=2)
    assert parameter_count(spec) == 5 * 4 + 2 * 4 + 2 * block + 4 * 5


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ModelSpec("mlp", 5), f"arch 'mlp' is not known; allowed are {', '.join(ARCHS)}"),
        (lambda: ModelSpec("embed_add", 5, act="gelu"), "act 'gelu' is not known"),
        (lambda: ModelSpec("embed_add", 5, init="xavier"), "init 'xavier' is not known"),
        (lambda: ModelSpec("embed_add", 1), "order, that of the group, is at least 2, not 1"),
        (lambda: ModelSpec("embed_add", 5, width=0), "width is at least 1, not 0"),
        (lambda: ModelSpec("embed_add", 5, d_embed=-1), "d_embed is at least 1, not -1"),
        (lambda: ModelSpec("embed_add", 5, depth=5), "is 1 to 4, not 5"),
        (lambda: ModelSpec("attn", 5, blocks=3), "blocks is 1 or 2, not 3"),
        (lambda: ModelSpec("attn", 5, 10, heads=4), "4 does not divide 10"),
        (lambda: ModelSpec("attn", 5, init="he"), "'fan_in' only"),
        (lambda: ModelSpec("embed_add", 5, blocks=2), "embed_add has no transformer blocks"),
        (lambda: ModelSpec("attn", 5, tie_embed=False), "untie embeddings, not attn"),
        (lambda: forward_grid(params_of(SPECS["attention"]), SPECS["attention"]), "needs alpha"),
        (lambda: forward_grid(params_of(SPECS["attention"]), SPECS["attention"], 1.5),
         r"lies in \[0, 1\], not 1.5"),
        (lambda: forward_pairs(params_of(SPECS["attention"]), SPECS["attention"], PAIRS, -0.1),
         r"lies in \[0, 1\], not -0.1"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(make, sentence):
    with pytest.raises(BadInput, match=sentence):
        make()
