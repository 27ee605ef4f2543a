"""dm_control's and gymnasium's own environments, one at a time, as this repo's tests see them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

os.environ.setdefault("MUJOCO_GL", "disable")  # dm_control looks for a display otherwise

import mujoco
from dm_control import suite
from dm_control.rl.control import Environment
from dm_control.suite import cheetah, common, quadruped, walker
from dm_control.utils.rewards import tolerance

INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION
INF = float("inf")

# The rewards that the suite does not have, written for one environment, as tasks of the suite -----


class CheetahWalk(cheetah.Cheetah):
    def get_reward(self, physics):
        return float(np.clip(physics.speed() / 2, 0, 1))


class WalkerFlip(walker.PlanarWalker):
    def get_reward(self, physics):
        standing = tolerance(physics.torso_height(), bounds=(1.2, INF), margin=0.6)
        stand = (3 * standing + (1 + physics.torso_upright()) / 2) / 4
        mujoco.mj_subtreeVel(physics.model.ptr, physics.data.ptr)
        momentum = physics.named.data.subtree_angmom["torso"][1]
        return stand * (5 * float(np.clip(momentum / 5, 0, 1)) + 1) / 6


class QuadrupedStand(quadruped.Move):
    def get_reward(self, physics):
        return float(np.clip((1 + physics.torso_upright()) / 2, 0, 1))


class QuadrupedJump(quadruped.Move):
    def get_reward(self, physics):
        upright = (1 + float(physics.torso_upright())) / 2
        height = physics.named.data.subtree_com["torso"][2]
        return upright * float(np.clip((1 + height) / 2, 0, 1))


def _own(name: str, random: Any) -> Environment:
    if name == "cheetah_walk":
        physics = cheetah.Physics.from_xml_string(*cheetah.get_model_and_assets())
        return Environment(physics, CheetahWalk(random=random), time_limit=10)
    if name == "walker_flip":
        physics = walker.Physics.from_xml_string(*walker.get_model_and_assets())
        task = WalkerFlip(0, random=random)
        return Environment(physics, task, time_limit=25, control_timestep=0.025)
    xml = quadruped.make_model(floor_size=10)
    physics = quadruped.Physics.from_xml_string(xml, common.ASSETS)
    task = (QuadrupedStand if name == "quadruped_stand" else QuadrupedJump)(0.5, random=random)
    return Environment(physics, task, time_limit=20, control_timestep=0.02)


OWN = ("cheetah_walk", "walker_flip", "quadruped_stand", "quadruped_jump")


class Suite:
    """One environment of dm_control under our name for its task."""

    def __init__(self, name: str, seed: int = 0) -> None:
        random = np.random.RandomState(seed)
        if name in OWN:
            self.env = _own(name, random)
        else:
            domain, task = name.rsplit("_", 1)
            self.env = suite.load(domain, task, task_kwargs={"random": random})
        self.model = self.env.physics.model.ptr
        self.data = self.env.physics.data.ptr

    def reset(self) -> np.ndarray:
        return self._flat(self.env.reset())

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Observation, reward, whether the episode ended."""
        result = self.env.step(action)
        return self._flat(result), float(result.reward), result.last()

    def physics(self) -> np.ndarray:
        row = np.empty(mujoco.mj_stateSize(self.model, INTEGRATION))
        mujoco.mj_getState(self.model, self.data, row, INTEGRATION)
        return row

    @staticmethod
    def _flat(result: Any) -> np.ndarray:
        return np.concatenate([np.ravel(part) for part in result.observation.values()])
