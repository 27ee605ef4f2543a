"""Demonstration files: what is kept, and the sentence that each bad one gets."""

import numpy as np
import pytest

from papers.sfm.demos import CHECKSUMS, Demo, load_demo, save_demo, shipped, stack_states
from shared.experiment.errors import BadInput

OBS = np.linspace(0, 1, 20, dtype=np.float32).reshape(5, 4)
ACT = np.zeros((4, 2), np.float32)


def test_what_is_saved_comes_back(tmp_path):
    demo = Demo(OBS, ACT, np.ones(4, np.float32), "walker_walk", "ours", "3.17.0", 4.0)
    path = tmp_path / "demo.npz"
    assert len(save_demo(path, demo)) == 64
    back = load_demo(path, 4, 2)
    np.testing.assert_array_equal(back.obs, OBS)
    np.testing.assert_array_equal(back.actions(), ACT)
    assert (back.task, back.source, back.mujoco) == ("walker_walk", "ours", "3.17.0")
    assert back.recorded_return == 4.0


@pytest.mark.parametrize("act", [None, np.full((4, 2), np.nan, np.float32)], ids=["none", "nan"])
def test_states_alone_are_enough_but_not_for_cloning(tmp_path, act):
    path = tmp_path / "demo.npz"
    save_demo(path, Demo(OBS, act))
    back = load_demo(path, 4, 2)
    assert stack_states([back, back]).shape == (2, 5, 4)
    with pytest.raises(ValueError, match="actions required"):
        back.actions()


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"obs": OBS[:2]}, "needs at least 3 states; got 2"),
        ({"obs": OBS[:, :3]}, "has states of width 3; the environment has width 4"),
        ({"obs": np.where(OBS > 0.9, np.nan, OBS)}, "has 2 numbers among its states that are not"),
        ({"obs": OBS.ravel()}, r"needs states as numbers \[T, width\]; got shape \(20,\)"),
        ({"obs": OBS.astype(str)}, "needs states as numbers"),
        ({"states": OBS}, "has no array obs; it has states"),
        ({"obs": OBS, "act": ACT[:3]}, r"act must have the shape \[4, 2\]; got \(3, 2\)"),
        ({"obs": OBS, "reward": ACT}, r"reward must have the shape \[4\]"),
        ({"obs": np.array([{}, {}, {}])}, "not an npz file of plain arrays"),
    ],
)
def test_bad_files_get_one_sentence(tmp_path, arrays, sentence):
    path = tmp_path / "demo.npz"
    np.savez(path, **arrays)
    with pytest.raises(BadInput, match=sentence):
        load_demo(path, 4, 2)


def test_files_that_are_none(tmp_path):
    with pytest.raises(BadInput, match="There is no demonstration"):
        load_demo(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("obs")
    with pytest.raises(BadInput, match="not an npz file"):
        load_demo(tmp_path / "text.npz")
    np.save(tmp_path / "array.npy", OBS)
    with pytest.raises(BadInput, match="not an npz file"):
        load_demo(tmp_path / "array.npy")
    with pytest.raises(BadInput, match=r"one length; got lengths \[4, 5\]"):
        stack_states([Demo(OBS), Demo(OBS[:4])])


def test_shipped_demonstrations_are_whole():
    for name in CHECKSUMS:
        task = name.rsplit("-", 1)[0]
        for path in shipped(task):
            demo = load_demo(path)
            assert demo.task == task and demo.mujoco and demo.reward is not None
            assert abs(float(demo.reward.sum()) - demo.recorded_return) < 1e-2
            assert path.stat().st_size <= 120 * 1024
    assert shipped("no_such_task") == []
