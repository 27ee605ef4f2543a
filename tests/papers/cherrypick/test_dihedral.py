"""From weights to Cayley graphs, by hand: run `python` or `pytest` on this file."""

import numpy as np

from papers.dihedral.method import (
    Net,
    ablate,
    accuracy,
    class_means,
    clusters,
    contributions,
    gft,
    irreps,
    is_cayley,
    label_neurons,
    logits,
    mult_table,
    pre_activations,
    step_size,
    subgroups,
    summary,
    table_energies,
)

N = 6
TABLE, REPS = mult_table(N), irreps(N)


def network():
    """2D_2 of D_6 in 8 x 8 x 8 neurons: u = x^T rho(a) y, v = y^T rho(b) z, w = x^T rho(c) z."""
    rho = next(r for r in REPS if r.name == "2D_2").mats
    t = 2 * np.pi * np.arange(8) / 8
    unit = np.stack([np.cos(t), np.sin(t)], 1)
    x, y, z = (unit[i] for i in np.indices((8, 8, 8)).reshape(3, -1))
    left = np.einsum("ji,gik,jk->gj", x, rho, y)
    right = np.einsum("ji,gik,jk->gj", y, rho, z)
    out = np.einsum("ji,gik,jk->jg", x, rho, z)
    return Net(left, right, np.zeros(512), out, np.zeros(2 * N))


def test_the_group():
    assert TABLE[1, N + 2] == N + 1  # r s r^2 = s r
    assert step_size(2, N) == (2, 3, 1)
    assert len(subgroups(N)) == 16  # tau(6) + sigma(6) = 4 + 12
    assert [rho.name for rho in REPS] == ["triv", "sign", "rp", "srp", "2D_1", "2D_2"]


def test_the_transform():
    f = np.r_[np.arange(5.0), np.arange(5.0) ** 2]
    np.testing.assert_allclose(gft(f)["sign"], [[-20]])
    np.testing.assert_allclose(gft(f)["2D_2"][0], [-12.236068, 4.873795], atol=1e-6)


def test_a_cluster_is_a_cayley_graph_and_knows_its_coset():
    net = network()
    peak = np.maximum(pre_activations(net), 0).max((0, 1))
    labels = label_neurons(table_energies(net.left, net.right, REPS), peak, net.out, REPS)
    found = clusters(labels, REPS)
    assert list(found) == ["2D_2"] and len(found["2D_2"]) == 512
    parts = contributions(np.maximum(pre_activations(net), 0), net.out, found)
    np.testing.assert_allclose(parts[0], logits(net), atol=1e-9)
    means, _ = class_means(parts[0], TABLE)
    assert is_cayley(means, 2, N).passes()
    assert not is_cayley(means, 1, N).passes()
    done = ablate(parts, [np.array([0, 3])], TABLE)
    assert done.predicted[0] == 0.5 and done.modulo[0] == 1.0
    assert accuracy(parts[0], TABLE) < 1.0  # r^3 is beyond it


def test_summary():
    found = summary(network(), TABLE, REPS, np.arange(2 * N) < N)
    assert found.names == ("2D_2",) and found.sizes == (512,) and found.alone == (1.0,)


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
