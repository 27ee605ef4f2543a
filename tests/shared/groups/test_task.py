"""Splits of the table: sizes, seeds, uniformity, pairs that stay together; permuted answers."""

import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.groups.group import cyclic, dihedral
from shared.groups.task import CayleyTask, permuted_labels, stacked_labels, train_masks


def test_inputs_and_labels_are_the_table():
    task = CayleyTask(dihedral(4))
    assert task.order == 8 and task.inputs.shape == (64, 2)
    for a, b in task.inputs[[0, 1, 8, 63]]:
        assert task.labels[a, b] == dihedral(4).table[a, b]
    np.testing.assert_array_equal(task.inputs[[0, 1, 8, 63]], [[0, 0], [0, 1], [1, 0], [7, 7]])
    np.testing.assert_array_equal(
        task.labels.reshape(-1), [task.group.table[a, b] for a, b in task.inputs]
    )


@pytest.mark.parametrize(
    ("group", "frac", "pairs"),
    [
        (cyclic(59), 0.9, 3133),  # 3132.9
        (dihedral(18), 1044 / 36**2, 1044),
        (dihedral(3), 1.0, 36),
        (cyclic(5), 0.5, 12),  # 12.5 rounds to the even number
        (cyclic(5), 0.03, 1),
    ],
)
def test_a_share_is_the_nearest_number_of_pairs(group, frac, pairs):
    task = CayleyTask(group, frac)
    assert task.train_items == pairs == task.train_mask.sum()


def test_unordered_pairs_stay_together():
    task = CayleyTask(cyclic(9), 0.4, split="unordered")
    mask = task.train_mask
    assert task.items == 45 and task.train_items == 18
    np.testing.assert_array_equal(mask, mask.T)
    assert np.triu(mask).sum() == 18
    ordered = CayleyTask(cyclic(9), 0.4).train_mask
    assert (ordered != ordered.T).any()  # what the option is there to avoid


@pytest.mark.parametrize("split", ["ordered", "unordered"])
def test_every_pair_is_as_likely(split):
    masks = train_masks(CayleyTask(cyclic(4), 0.7, split=split), range(2000))
    share = round(0.7 * 16) / 16 if split == "ordered" else round(0.7 * 10) / 10
    deviation = np.sqrt(share * (1 - share) / 2000)
    assert np.abs(masks.mean(0) - share).max() < 4 * deviation


def test_a_split_depends_on_its_seed_alone():
    task = CayleyTask(cyclic(7), 0.5, split_seed=3)
    masks = train_masks(task, [3, 4, 3])
    np.testing.assert_array_equal(masks[0], task.train_mask)
    np.testing.assert_array_equal(masks[0], masks[2])
    assert (masks[0] != masks[1]).any()
    np.testing.assert_array_equal(train_masks(task, [4])[0], masks[1])


def test_permuted_answers_keep_their_counts_and_lose_the_group():
    task = CayleyTask(dihedral(3))
    dealt = permuted_labels(task, [0, 1])
    np.testing.assert_array_equal(np.bincount(dealt[0].reshape(-1)), np.full(6, 6))
    assert (dealt[0] != dealt[1]).any() and (dealt[0] != task.labels).sum() > 18
    np.testing.assert_array_equal(permuted_labels(task, [1])[0], dealt[1])
    np.testing.assert_array_equal(stacked_labels(task, 2), [task.labels] * 2)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CayleyTask(cyclic(5), 0.0), r"lies in \(0, 1\], not 0.0"),
        (lambda: CayleyTask(cyclic(5), 1.01), r"lies in \(0, 1\], not 1.01"),
        (lambda: CayleyTask(cyclic(5), float("nan")), "not nan"),
        (lambda: CayleyTask(cyclic(5), 0.01), "0.01 of 25 pairs is none"),
        (lambda: CayleyTask(cyclic(5), split="random"), "'ordered' or 'unordered', not 'random'"),
        (lambda: CayleyTask(dihedral(3), split="unordered"), "In D3 a b may differ from b a"),
        (lambda: CayleyTask(cyclic(5), split_seed=-1), "at least 0 and below 2.32, not -1"),
        (lambda: train_masks(CayleyTask(cyclic(5)), []), "At least one seed"),
        (lambda: permuted_labels(CayleyTask(cyclic(5)), []), "At least one seed"),
        (lambda: permuted_labels(CayleyTask(cyclic(5)), [2**32]), "below 2.32"),
        (lambda: stacked_labels(CayleyTask(cyclic(5)), 0), "At least one network is needed, not 0"),
    ],
)
def test_bad_input_is_explained(make, sentence):
    with pytest.raises(BadInput, match=sentence):
        make()
