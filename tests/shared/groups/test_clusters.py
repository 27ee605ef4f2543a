"""Clusters and their counts on labels that are written down."""

import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.groups.clusters import count_table, find_clusters
from shared.groups.neurons import Neurons, cyclic_neurons
from tests.shared.groups.known import group
from tests.shared.groups.test_neurons import noise


def described(label: list[int], first: list[float], alive: list[bool] | None = None) -> Neurons:
    m = len(label)
    places, shares = np.array(label), np.zeros((max(label) + 1, m))
    return Neurons(
        order=2 * max(label), label=places, first=np.array(first), second=1 - np.array(first),
        left_label=places, right_label=places,
        alive=np.ones(m, bool) if alive is None else np.array(alive), variance=np.ones(m),
        first_shares=shares, second_shares=shares, left_shares=shares, right_shares=shares,
    )  # fmt: skip


LABELS = [3, 1, 3, 2, 3, 1, 1, 1, 0, 5]
FIRST = [1.0, 0.4, 0.8, 0.9, 0.6, 0.6, 0.6, 0.6, 0.0, 0.97]


def test_clusters_by_hand() -> None:
    found = find_clusters(described(LABELS, FIRST))
    assert found.label.tolist() == [1, 3, 2, 5]  # by size, then by label
    assert [m.tolist() for m in found.members] == [[1, 5, 6, 7], [0, 2, 4], [3], [9]]
    assert found.size.tolist() == [4, 3, 1, 1]
    assert found.r2 == pytest.approx([0.55, 0.8, 0.9, 0.97])
    assert found.second == pytest.approx([0.45, 0.2, 0.1, 0.03])
    assert found.major.tolist() == [True, True, False, False]
    assert found.kept == 9  # label 0 is no cluster
    major = found.only_major()
    assert len(major) == 2 and major.label.tolist() == [1, 3] and major.kept == 9
    assert repr(found) == "Clusters({1: 4, 3: 3, 2: 1, 5: 1}, 2 major)"
    assert found.names(group("Z10")) == ["f1", "f3", "f2", "f5"]


def test_major_is_a_share_of_the_kept_neurons_too() -> None:
    labels = [1] * 396 + [2] * 4
    assert find_clusters(described(labels, [1.0] * 400)).major.tolist() == [True, True]
    assert find_clusters(described([*labels, 1], [1.0] * 401)).major.tolist() == [True, False]
    found = find_clusters(described(labels, [1.0] * 400), min_size=5)
    assert found.major.tolist() == [True, False]


def test_the_dead_are_left_out_unless_asked_for() -> None:
    alive = [False, *[True] * 9]
    neurons = described(LABELS, FIRST, alive)
    assert find_clusters(neurons).members[1].tolist() == [2, 4]
    assert find_clusters(neurons, np.ones(10, bool)).members[1].tolist() == [0, 2, 4]
    empty = find_clusters(neurons, np.zeros(10, bool))
    assert len(empty) == 0 and empty.kept == 0 and empty.r2.shape == (0,)
    with pytest.raises(BadInput, match="each of the 10 neurons"):
        find_clusters(neurons, np.ones(9, bool))


def test_counts_by_hand() -> None:
    found = count_table(described(LABELS, FIRST), r2=(0.0, 0.6, 0.95, 1.0), shares=(0.0, 0.01, 0.5))
    assert found.neurons.tolist() == [9, 8, 2, 1]
    assert found.counts.tolist() == [[4, 2, 0], [4, 2, 0], [2, 0, 0], [1, 0, 0]]
    assert found.at(0.6, 0.01) == 2
    with pytest.raises(BadInput, match=r"filters \(0\.0, 0\.6"):
        found.at(0.7, 0.01)


def test_the_table_agrees_with_the_clusters() -> None:
    neurons = cyclic_neurons((noise(31, 200), noise(31, 200, seed=1)))
    table, found = count_table(neurons), find_clusters(neurons)
    assert table.at(0.0, 0.0) == len(found)
    assert table.at(0.0, 0.01) == found.major.sum()


def test_no_major_cluster_of_a_random_network_passes_a_filter() -> None:
    neurons = cyclic_neurons((noise(59, 256), noise(59, 256, seed=1)))
    table = count_table(neurons)
    assert table.at(0.0, 0.01) > 20
    assert not table.counts[1:].any() and not table.neurons[1:].any()
