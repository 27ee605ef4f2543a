"""Random network distillation (Burda et al. 2019) on PPO, for games that pay rarely (claim C10).

    f       target     a random network that is never trained
    g       predictor  trained to equal f where the agent has been
    c_t     intrinsic reward, |f(x_{t+1}) - g(x_{t+1})|^2 / 2: large where the agent has not been
    x_t     the newest frame, each pixel by its running mean and deviation, cut at 5 deviations

    A = ext_coef A_ext + int_coef A_int      two critics, each with its discount
    L = PPO's loss with A, the external critic's clipped and the intrinsic critic's plain squares,
        and |f - g|^2 averaged over a random quarter of the states

Intrinsic returns know no end of an episode: dying is no loss of what there is to see. Intrinsic
rewards are divided by the running deviation of their discounted sum. Settings are those of
CleanRL's ppo_rnd_envpool.py.

Deviations: the discounted sum runs along each environment's time (there, along the environments of
one time); the network of the agent is the Nature one with two value heads, without the reference's
extra layers; which states train g is drawn once an iteration, not once an epoch; the `warmup`
rollouts that set the first means and deviations are steps of the run and are not learned from.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from papers.ppo_scaling import host_learner, networks, train
from papers.ppo_scaling.atari import OBS_SHAPE
from papers.ppo_scaling.host_networks import NATURE, SMALL
from papers.ppo_scaling.method import BatchSpec, PPOBatch, gae, normalise, ppo_loss
from papers.ppo_scaling.networks import Heads, Net, Params
from papers.ppo_scaling.train import Acted, Hyper, Learner, LearnState, Logs, Rollout

EXT_COEF, INT_COEF = 2.0, 1.0
GAMMA_INT = 0.99
UPDATE_PROPORTION = 0.25
WARMUP = 50
FEATURES = 512
FRAME_SHAPE = (21, 21, 16)


# Running statistics -------------------------------------------------------------------------------


class Moments(NamedTuple):
    """Mean and variance of all that was seen so far, and how many."""

    mean: Float[Array, ...]
    var: Float[Array, ...]
    weight: Float[Array, ""]


def no_moments(shape: tuple[int, ...] = ()) -> Moments:
    """Before anything was seen: mean 0, variance 1, with next to no weight."""
    zeros = jnp.zeros(shape, jnp.float32)
    return Moments(zeros, zeros + 1, jnp.asarray(1e-4, jnp.float32))


def seen(moments: Moments, x: Float[Array, "n ..."]) -> Moments:
    """After n more numbers (Chan et al.'s rule for two samples together)."""
    n = jnp.asarray(x.shape[0], jnp.float32)
    mean, var = x.mean(axis=0), x.var(axis=0)
    total = moments.weight + n
    gap = mean - moments.mean
    spread = moments.var * moments.weight + var * n + gap**2 * moments.weight * n / total
    return Moments(moments.mean + gap * n / total, spread / total, total)


def standardised(
    frames: Float[Array, "*b h w c"], moments: Moments, cut: float = 5.0
) -> Float[Array, "*b h w c"]:
    """Each pixel by its mean and deviation, within +- `cut`."""
    scaled = (frames - moments.mean) / jnp.sqrt(moments.var + 1e-8)
    return jnp.clip(scaled, -cut, cut)


def discounted_sums(
    rewards: Float[Array, "T N"], start: Float[Array, " N"], gamma: float = GAMMA_INT
) -> tuple[Float[Array, "T N"], Float[Array, " N"]]:
    """F_t = gamma F_{t-1} + c_t, from `start` on; and the last."""

    def add(total: Array, reward: Array) -> tuple[Array, Array]:
        total = gamma * total + reward
        return total, total

    last, sums = jax.lax.scan(add, start, rewards)
    return sums, last


# Losses -------------------------------------------------------------------------------------------


def novelty(predicted: Float[Array, "*b d"], target: Float[Array, "*b d"]) -> Float[Array, "*b"]:
    """The intrinsic reward, |f - g|^2 / 2; no gradient flows through it."""
    return jax.lax.stop_gradient(0.5 * jnp.sum((target - predicted) ** 2, axis=-1))


def predictor_loss(
    predicted: Float[Array, "B d"], target: Float[Array, "B d"], weights: Float[Array, " B"]
) -> Float[Array, ""]:
    """Weighted mean of each state's mean squared error; the target is never trained."""
    errors = jnp.mean((predicted - jax.lax.stop_gradient(target)) ** 2, axis=-1)
    return jnp.mean(errors * weights)


def quarter(uniform: Float[Array, " B"], share: float = UPDATE_PROPORTION) -> Float[Array, " B"]:
    """Weights of mean 1 on a random `share` of the states; all 0 if none was drawn."""
    mask = (uniform < share).astype(jnp.float32)
    return mask / jnp.maximum(mask.mean(), 1 / mask.shape[0])


def combined(ext: Float[Array, "*b"], intrinsic: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """A = ext_coef A_ext + int_coef A_int."""
    return EXT_COEF * ext + INT_COEF * intrinsic


# Networks -----------------------------------------------------------------------------------------


def newest(obs: Array) -> Float[Array, "*b 21 21 16"]:
    """The newest frame of blocks of four (`atari.layout`)."""
    return obs.reshape(*obs.shape[:-1], 16, 4)[..., 3].astype(jnp.float32)


def network(kind: str, n_actions: int) -> Net:
    """The agent's: one encoder, a policy, and two values (external, intrinsic) [B, 2].

    Its weights are the entry "agent" of what is trained; the predictor's are the other.
    """
    layers, dense = NATURE if kind == "nature" else SMALL
    body = networks.conv_encoder(OBS_SHAPE, layers, dense, 1 / 255)

    def init(key: Key[Array, ""]) -> Params:
        encoder, actor, critic, predictor = jax.random.split(key, 4)
        agent = {
            "encoder": body.init(encoder),
            "actor": networks._dense(actor, body.width, n_actions, 0.01),
            "critic": networks._dense(critic, body.width, 2, 0.01),
        }
        return {"agent": agent, "predictor": init_predictor(predictor)}

    def apply(params: Params, obs: Array) -> Any:
        agent = params["agent"]
        features = body.apply(agent["encoder"], obs)
        values: Any = networks._linear(agent["critic"], features)
        return Heads(networks._linear(agent["actor"], features), values, features, features)

    return Net(init, apply)


_EYES = networks.conv_encoder(FRAME_SHAPE, NATURE[0], FEATURES)


def init_target(key: Key[Array, ""]) -> Params:
    """Nature's convolutions and one dense layer."""
    return _EYES.init(key)


def target_features(params: Params, frames: Float[Array, "B 21 21 16"]) -> Float[Array, "B 512"]:
    """f(x)."""
    return _EYES.apply(params, frames)


def init_predictor(key: Key[Array, ""]) -> Params:
    """The same and two dense layers more."""
    eyes, one, two = jax.random.split(key, 3)
    gain = math.sqrt(2)
    return {
        "eyes": _EYES.init(eyes),
        "one": networks._dense(one, FEATURES, FEATURES, gain),
        "two": networks._dense(two, FEATURES, FEATURES, gain),
    }


def predicted_features(params: Params, frames: Float[Array, "B 21 21 16"]) -> Float[Array, "B 512"]:
    """g(x)."""
    x = _EYES.apply(params["eyes"], frames)
    return networks._linear(params["two"], jax.nn.relu(networks._linear(params["one"], x)))


# The learner --------------------------------------------------------------------------------------


class RNDState(NamedTuple):
    """What `train.LearnState` is to PPO.

    Attributes:
        learner: agent and predictor, their optimiser. target: f's weights.
        frames: moments of each pixel. sums: of intrinsic discounted sums; `running` the newest.
    """

    learner: LearnState
    target: Params
    frames: Moments
    sums: Moments
    running: Float[Array, " N"]

    @property
    def params(self) -> Params:
        """Of agent and predictor."""
        return self.learner.params

    @property
    def iteration(self) -> Int[Array, ""]:
        """Rollouts done."""
        return self.learner.iteration


def intrinsic_rewards(
    state: RNDState, rollout: Rollout, last_obs: Array, rows: int = 64
) -> Float[Array, "T N"]:
    """c_t of the state that each transition led to, before it is scaled."""
    following = jnp.concatenate([rollout.obs[1:], last_obs[None]])
    flat = following.reshape(-1, *OBS_SHAPE)
    size = rows if flat.shape[0] % rows == 0 else flat.shape[0]

    def of_block(obs: Array) -> Array:
        frames = standardised(newest(obs), state.frames)
        known = predicted_features(state.params["predictor"], frames)
        return novelty(known, target_features(state.target, frames))

    found = jax.lax.map(of_block, flat.reshape(-1, size, *OBS_SHAPE))
    return found.reshape(rollout.rewards.shape)


def make_learner(
    net: Net,
    spec: BatchSpec,
    rows: int | None = host_learner.ROWS,
    warmup: int = WARMUP,
) -> Learner:
    """PPO with RND on Atari's blocks; `net` from `network`, values are [N, 2].

    `hp.gamma` discounts rewards of the game.
    """
    plain = train.make_learner("ppo", net, spec)

    def init(key: Key[Array, ""]) -> Any:
        weights, target = jax.random.split(key)
        nothing = jnp.zeros(spec.n_envs, jnp.float32)
        return RNDState(plain.init(weights), init_target(target), no_moments(FRAME_SHAPE),
                        no_moments(), nothing)  # fmt: skip

    def act(state: Any, obs: Array, keys: Key[Array, " N"]) -> Acted:
        return plain.act(state.learner, obs, keys)

    def value(state: Any, obs: Array) -> Array:
        return plain.value(state.learner, obs)

    def problem(
        state: RNDState, rollout: Rollout, last_obs: Array, uniform: Array, hp: Hyper
    ) -> tuple[host_learner.Objective, Any, RNDState, Array]:
        curious = intrinsic_rewards(state, rollout, last_obs)
        pixels = newest(rollout.obs).reshape(-1, *FRAME_SHAPE)
        sums, running = discounted_sums(curious, state.running)
        state = state._replace(frames=seen(state.frames, pixels), running=running,
                               sums=seen(state.sums, sums.reshape(-1)))  # fmt: skip
        scaled = curious / jnp.sqrt(state.sums.var + 1e-8)
        last = net.apply(state.params, last_obs).value
        batch, own_returns = advantages(rollout, scaled, last, hp)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (rollout.obs, batch))
        data = (*flat, own_returns.reshape(-1), uniform)

        def loss(params: Any, part: Any) -> tuple[Array, Logs]:
            return objective(net, params, state.target, state.frames, part, hp, rows)

        return loss, data, state, curious.mean()

    def learn(
        state: Any, rollout: Rollout, last_obs: Array, key: Key[Array, ""], hp: Hyper
    ) -> tuple[Any, Logs]:
        order, draw = jax.random.split(key)
        uniform = jax.random.uniform(draw, (spec.batch_size,))
        before = state
        loss, data, state, curious = problem(state, rollout, last_obs, uniform, hp)

        def trained() -> tuple[RNDState, Logs]:
            learner, logs = host_learner.descend(loss, state.learner, data, order, spec, hp)
            return state._replace(learner=learner), logs

        names = jax.eval_shape(trained)[1]

        def watched() -> tuple[RNDState, Logs]:
            learner = state.learner._replace(iteration=state.learner.iteration + 1)
            zeros = {name: jnp.zeros(x.shape, x.dtype) for name, x in names.items()}
            # Rewards of frames that were not yet standardised must not set their own scale.
            kept = state._replace(learner=learner, sums=before.sums, running=before.running)
            return kept, zeros

        state, logs = jax.lax.cond(before.iteration < warmup, watched, trained)
        return state, logs | {"intrinsic_reward": curious}

    def gradient(
        state: Any, rollout: Rollout, last_obs: Array, key: Key[Array, ""], hp: Hyper
    ) -> Any:
        order, draw = jax.random.split(key)
        uniform = jax.random.uniform(draw, (spec.batch_size,))
        loss, data, state, _ = problem(state, rollout, last_obs, uniform, hp)
        return host_learner.one_gradient(loss, state.params, data, order, spec)

    return Learner(init, act, value, learn, gradient)


def advantages(
    rollout: Rollout, curious: Float[Array, "T N"], last: Float[Array, "N 2"], hp: Hyper
) -> tuple[PPOBatch, Float[Array, "T N"]]:
    """The batch with both streams' advantages together, and the intrinsic returns.

    `batch.values` and `batch.returns` are those of the game's rewards.
    """
    done = rollout.terminated | rollout.truncated
    values, final = rollout.values, rollout.final_values
    ext, ext_returns = gae(rollout.rewards, values[..., 0], done, last[:, 0], hp.gamma, hp.lam,
                           rollout.truncated, final[..., 0])  # fmt: skip
    never = jnp.zeros_like(done)
    own, own_returns = gae(curious, values[..., 1], never, last[:, 1], GAMMA_INT, hp.lam,
                           never, final[..., 1])  # fmt: skip
    batch = PPOBatch(rollout.actions, rollout.log_probs, values[..., 0], combined(ext, own),
                     ext_returns)  # fmt: skip
    return batch, own_returns


def objective(
    net: Net,
    params: Params,
    target: Params,
    frames: Moments,
    part: Any,
    hp: Hyper,
    rows: int | None = None,
) -> tuple[Float[Array, ""], Logs]:
    """The whole loss of a minibatch (obs, batch, intrinsic returns, uniform numbers)."""
    obs, batch, own_returns, uniform = part
    batch = batch._replace(advantages=normalise(batch.advantages))

    def of_block(params: Params, piece: Any) -> tuple[Array, Logs]:
        obs, batch, own_returns, weights = piece
        heads: Any = net.apply(params, obs)
        agent, aux = ppo_loss(heads.logits, heads.value[:, 0], batch, hp.clip, hp.vf, hp.ent, False)
        critic = 0.5 * jnp.mean((heads.value[:, 1] - own_returns) ** 2)
        x = standardised(newest(obs), frames)
        known = predicted_features(params["predictor"], x)
        distilled = predictor_loss(known, target_features(target, x), weights)
        logs = {**aux._asdict(), "intrinsic_value_loss": critic, "predictor_loss": distilled}
        return agent + hp.vf * critic + distilled, logs

    piece = (obs, batch, own_returns, quarter(uniform))
    return host_learner.summed(of_block, rows)(params, piece)
