"""Measurements on networks: weights by hand where the answer is known, and small trained ones."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.modular_crt import measure, method, trial
from papers.modular_crt.config import PRESETS
from papers.modular_crt.studies import Network, studies
from shared.groups.clusters import find_clusters
from shared.groups.networks import ModelSpec, forward_grid, init
from shared.groups.neurons import cyclic_neurons
from shared.groups.training import network_params, train_chunk

NETWORK = Network("one-hot", 13, 1, 50, 8, 300, 1e-2, 1e-4, 0.9, 0)


def by_hand(freqs: tuple[int, ...] = (2, 3), n: int = 13) -> tuple[dict, ModelSpec]:
    """An acrt network as parameters of a one-hot MLP."""
    net = method.acrt_network(n, freqs, 5)
    params = {
        "W_a": net.left, "W_b": net.right, "b": net.bias, "U": net.readout, "hidden": (),
    }  # fmt: skip
    cast = jax.tree.map(lambda x: np.asarray(x, np.float32), params)
    return cast, ModelSpec("onehot_concat", order=n, width=len(net.freq))


def test_a_network_by_hand_is_measured_exactly() -> None:
    params, spec = by_hand()
    found = measure.measure(params, spec, NETWORK, 0.0, (0.0, 0.1), seed=0)
    assert found["accuracy"] == 1 and found["count"] == 2
    assert found["r2"] == pytest.approx(1) and found["second"] == pytest.approx(0, abs=1e-6)
    assert found["sizes"].tolist() == [0, 25, 25, 0, 0, 0]
    assert found["counts"].tolist() == [[2.0] * 4] * 4
    assert found["simple"] == 1 and found["simple_loss"] == pytest.approx(found["loss"], rel=1e-4)
    assert found["tuned"] == 0 and found["half_integer"] == 0 and found["agree"] == 1
    assert found["equivariance"] < 0.01 and found["profile"] > 0.99
    gap, _ = method.ideal_gap(13, (2, 3))
    assert found["margin"] == pytest.approx(gap, rel=0.15)
    assert np.isnan(found["pc_peak"]), "no embedding"
    assert found["noise_loss"][0] == pytest.approx(found["loss"], rel=1e-5)
    assert found["removal"].tolist()[:1] == [1] and found["removal"][-1] == 1, "3 alone answers"
    params, spec = by_hand((2,))
    found = measure.measure(params, spec, NETWORK, 0.0, (0.0,), seed=0)
    assert found["removal"][0] == 1 and found["removal"][-1] < 0.2, "nothing answers"


def test_watch_sees_the_same_clusters() -> None:
    params, spec = by_hand()
    seen = measure.watch(params, spec, 0.0)
    assert (seen["count"], seen["alive"]) == (2, 50)
    assert seen["r2"] == pytest.approx(1) and seen["energy_share"] == pytest.approx(1)


def test_profile_of_a_cluster_is_the_cosine_of_its_frequency() -> None:
    net = method.acrt_network(13, (3,), 7)
    values = measure.profile(method.logits(net))
    ideal = np.cos(2 * np.pi * 3 * np.arange(13) / 13)
    assert np.corrcoef(values, ideal)[0, 1] > 0.999
    assert values.argmax() == 0


def test_fine_tuning_neurons_are_found_and_removed() -> None:
    params, spec = by_hand((2, 3))
    x = 2 * np.pi * np.arange(13) / 13
    mixed = np.cos(2 * x) + np.cos(4 * x) + np.cos(6 * x)
    extra = np.tile(mixed[:, None], 3).astype(np.float32)
    params = {
        "W_a": np.concatenate([params["W_a"], extra], axis=1),
        "W_b": np.concatenate([params["W_b"], 0 * extra], axis=1),
        "b": np.zeros(53, np.float32),
        "U": np.concatenate([params["U"], 1e-4 * extra.T]),
        "hidden": (),
    }
    spec = replace(spec, width=53)
    found = measure.measure(params, spec, NETWORK, 0.0, (), seed=0)
    assert found["tuned"] == 3 and found["without_tuned"] == 1
    assert "noise_loss" not in found
    params["U"][-1] = -100 * extra[:, 0]  # now they decide
    found = measure.measure(params, spec, NETWORK, 0.0, (), seed=0)
    assert found["accuracy"] < 1 and found["without_tuned"] == 1


@pytest.mark.parametrize(("architecture", "depth"), [("mlp", 2), ("pizza", 1), ("pizza", 2),
                                                     ("clock", 1), ("clock", 2)])  # fmt: skip
def test_substituting_nothing_changes_nothing(architecture: str, depth: int) -> None:
    network = replace(NETWORK, architecture=architecture, depth=depth, modulus=7, width=12)
    spec, alpha = trial.model_spec(network), trial.alpha_of(network)
    params = jax.device_get(init(jax.random.key(0), spec))
    out = forward_grid(params, spec, jnp.float32(alpha))
    logits = np.asarray(out.logits, np.float64)
    accuracy, loss = method.score(logits)
    pres = [np.asarray(p, np.float64) for p in out.pre]
    orders = (0,) * len(pres)
    if spec.blocks == 1:
        rest = measure._rest(params, spec, pres[-1], logits)
        found = measure._substituted_mlp(params, spec, pres[0], rest, (1,), orders)
        np.testing.assert_allclose(found, (accuracy, loss), rtol=1e-4)
    found = measure.substituted(params, spec, alpha, (1,), orders)
    np.testing.assert_allclose(found, (accuracy, loss), rtol=1e-4)


def test_both_ways_of_substituting_agree() -> None:
    network = replace(NETWORK, architecture="mlp", depth=3, modulus=7, width=12)
    spec = trial.model_spec(network)
    params = jax.device_get(init(jax.random.key(1), spec))
    out = forward_grid(params, spec)
    pres = [np.asarray(p, np.float64) for p in out.pre]
    plans: tuple[tuple[measure.Order, ...], ...] = ((1, 1, 1), (1, 2, 2))
    for orders in plans:
        numpy = measure._substituted_mlp(params, spec, pres[0], np.zeros(1), (1, 2), orders)
        edited = measure.substituted(params, spec, 0.0, (1, 2), orders)
        np.testing.assert_allclose(numpy, edited, rtol=1e-4)


def test_noise_scales_only_the_chosen_neurons() -> None:
    params, spec = by_hand()
    members = np.arange(50) < 10
    moved = measure.noisy(params, spec, members, 0.3, np.random.default_rng(0))
    for name, axis in (("W_a", 1), ("W_b", 1), ("U", 0)):
        ratio = np.moveaxis(moved[name] / params[name], axis, 0)
        np.testing.assert_array_equal(ratio[10:], 1)
        logs = np.log(ratio[:10])
        assert logs.std() == pytest.approx(0.3, rel=0.15) and abs(logs.mean()) < 0.05
    same = measure.noisy(params, spec, members, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(same["U"], params["U"])


def test_principal_components_of_two_circles() -> None:
    """Two frequencies of unequal size: two circles; of components 2 and 3, a Lissajous figure."""
    x = 2 * np.pi * np.arange(59) / 59
    rng = np.random.default_rng(0)
    waves = np.stack([3 * np.cos(4 * x), 2.9 * np.sin(4 * x), np.cos(9 * x), 0.9 * np.sin(9 * x)])
    embedding = waves.T @ np.linalg.qr(rng.normal(size=(16, 4)))[0].T
    peak, freq = measure.principal_components(embedding, variance=0.999)
    assert freq.tolist() == [4, 4, 9, 9]
    np.testing.assert_allclose(peak, 1, atol=1e-9)
    found = measure._embedding({"E": embedding}, 59)
    assert found["pc_circular"] == pytest.approx(0.5) or found["pc_circular"] > 0.3
    mixed = waves.T.copy()
    mixed[:, 0] += 3 * np.cos(17 * x)
    assert measure.principal_components(mixed, 0.999)[0].min() < 0.9


# --- Trained networks -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> tuple[dict, ModelSpec, Network]:
    """An embedded MLP at n = 13, all pairs, a few seconds of one core."""
    network = Network("mlp", 13, 1, 64, 32, 600, 1e-2, 1e-4, 1.0, 0)
    state, tspec = trial.initial_state(network, (0, 1))
    state, _ = train_chunk(state, trial.model_spec(network), tspec, 600)
    return jax.device_get(state.params), trial.model_spec(network), network


def test_a_trained_network_has_simple_neurons_and_few_frequencies(
    trained: tuple[dict, ModelSpec, Network],
) -> None:
    params, spec, network = trained
    for i in range(2):
        found = measure.measure(network_params(params, i), spec, network, 0.0, (), seed=i)
        assert found["accuracy"] == 1 and found["simple"] == 1
        assert found["r2"] > 0.85 and 1 <= found["count"] <= 6
        assert found["second"] == pytest.approx(0, abs=1e-9), "the first layer is additive"


def test_its_neurons_fire_on_approximate_cosets(
    trained: tuple[dict, ModelSpec, Network],
) -> None:
    params, spec, _ = trained
    pre = measure.first_layer(network_params(params, 0), spec, 0.0)
    neurons = cyclic_neurons(pre)
    clusters = find_clusters(neurons)
    for label, members in zip(clusters.label, clusters.members, strict=True):
        fit = method.fit_simple(pre[0][:, None, members] + pre[1][None][:, :, members])
        side = fit.pred.mean(axis=1)  # what depends on a
        for j in range(len(members)):
            on = set(np.flatnonzero(side[:, j] > side[:, j].mean() + 1e-9).tolist())
            if fit.freq[j] == label:
                assert method.is_approximate_coset(on, int(label), 13)


def test_one_hot_networks_have_all_frequencies_and_embedded_ones_a_handful() -> None:
    """At the paper's n = 59: AdamW keeps 29 clusters of a one-hot MLP, embeddings at most 8."""
    onehot = Network("one-hot", 59, 1, 256, 64, 1000, 1e-2, 0.0, 0.9, 0, decay=1.0)
    embedded = Network("mlp", 59, 1, 256, 64, 1500, 5e-3, 1e-4, 0.9, 0)
    for network, fewest, most in ((onehot, 29, 29), (embedded, 3, 8)):
        state, tspec = trial.initial_state(network, (0,))
        spec = trial.model_spec(network)
        state, _ = train_chunk(state, spec, tspec, network.steps)
        found = measure.measure(network_params(state.params, 0), spec, network, 0.0, (), seed=0)
        assert found["accuracy"] == 1 and fewest <= found["count"] <= most
        assert found["half_integer"] == 0


def test_the_picture_is_of_a_neuron_that_remapping_changes() -> None:
    params, spec = by_hand((1, 3))
    found = trial._example(params, spec, 0.0)
    assert found["example_frequency"] == 3 and found["example_r2"] == pytest.approx(1)
    assert np.abs(found["example"]).max() == trial.EXAMPLE_LEVELS
    params, spec = by_hand((1,))
    assert trial._example(params, spec, 0.0)["example_frequency"] == 1, "if there is no other"


def test_squares_in_place_of_relu_are_measured_by_their_own_forward_pass() -> None:
    network = replace(NETWORK, architecture="quadratic", modulus=7, width=12)
    spec = trial.model_spec(network)
    assert (spec.arch, spec.act) == ("onehot_concat", "quadratic")
    params = jax.device_get(init(jax.random.key(0), spec))
    found = measure.measure(params, spec, network, 0.0, (), seed=0)
    pre = measure.first_layer(params, spec, 0.0)
    fit = method.fit_simple(pre[0][:, None] + pre[1])
    expected = method.score(fit.pred**2 @ np.asarray(params["U"], np.float64))
    np.testing.assert_allclose((found["simple"], found["simple_loss"]), expected, rtol=1e-4)


def test_another_seed_is_another_network(trained: tuple[dict, ModelSpec, Network]) -> None:
    params, _, _ = trained
    assert not np.allclose(params["E"][0], params["E"][1])


def test_depth_of_a_transformer_is_its_blocks() -> None:
    deep = replace(NETWORK, architecture="clock", depth=2)
    spec = trial.model_spec(deep)
    assert (spec.arch, spec.blocks, spec.depth) == ("attn", 2, 1)
    spec = trial.model_spec(replace(NETWORK, architecture="mlp", depth=2))
    assert (spec.arch, spec.blocks, spec.depth) == ("embed_concat", 1, 2)
    assert trial.alpha_of(deep) == 1.0 and trial.alpha_of(NETWORK) == 0.0


def test_smoke_networks_are_small() -> None:
    for study in studies(PRESETS["smoke"]).values():
        for network in study:
            assert network.modulus <= 13 and network.steps <= 300
