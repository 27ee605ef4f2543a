"""Transformers of one or two blocks on the two tokens (a, b), read out at the last one.

As in the code of Zhong et al. 2023 (arXiv:2306.17844), for tokens t = 0, 1 and heads h = 1..H:

    x_t = E[token_t] + P[t]
    S = softmax over keys of q_t . k_s / sqrt(d / H),   M = alpha S + (1 - alpha) ones
    r_t = x_t + sum_h sum_s M^h_{ts} x_s W_V^h W_O^h
    y_t = r_t + W_out act(W_in r_t + b_in) + b_out      (the next block's x_t, if there is one)
    logits = y_1 W_U (+ c)

No layer norm, no mask, no attention biases. With alpha = 0 the weights are ones, not halves: the
rows of M sum to 2 - alpha.

One block, all pairs: the last query has two keys, so its softmax is a sigmoid of the difference of
two scores; and each head's values go through W_in once per token instead of once per pair.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from shared.groups.layers import Edit, Normal, hidden_layers, hidden_layout, mix

Params = dict[str, Any]
Tables = tuple[Params, Params]
"""What depends on a (first axis n), and what all a share."""


def layout(n: int, d: int, m: int, heads: int, blocks: int, depth: int) -> Params:
    """Normal weights of variance 1/d (E, P, attention, W_out), 1/m (W_in), 1/n (W_U); biases 0."""
    return {
        "E": Normal((n, d), 1 / d),
        "P": Normal((2, d), 1 / d),
        "blocks": (_block_layout(d, m, heads, depth),) * blocks,
        "W_U": Normal((d, n), 1 / n),
    }


def _block_layout(d: int, m: int, heads: int, depth: int) -> Params:
    head = d // heads
    into, out = Normal((heads, d, head), 1 / d), Normal((heads, head, d), 1 / d)
    return {
        "W_Q": into,
        "W_K": into,
        "W_V": into,
        "W_O": out,
        "W_in": Normal((d, m), 1 / m),
        "b_in": Normal((m,)),
        "hidden": hidden_layout(m, depth, 1 / m),
        "W_out": Normal((m, d), 1 / d),
        "b_out": Normal((d,)),
    }


# Token by token -----------------------------------------------------------------------------------


def attend(block: Params, x: Float[Array, "*pairs 2 d"], alpha: Array, queries: int) -> Array:
    """r_t of the last `queries` tokens, [*pairs, queries, d]."""
    last = x[..., 2 - queries :, :]
    q = jnp.einsum("...td,hde->...hte", last, block["W_Q"])
    k = jnp.einsum("...sd,hde->...hse", x, block["W_K"])
    v = jnp.einsum("...sd,hde->...hse", x, block["W_V"])
    scores = jnp.einsum("...hte,...hse->...hts", q, k) / jnp.float32(math.sqrt(q.shape[-1]))
    weights = alpha * jax.nn.softmax(scores, axis=-1) + (1 - alpha)
    heads = jnp.einsum("...hts,...hse->...hte", weights, v)
    return last + jnp.einsum("...hte,hed->...td", heads, block["W_O"])


def run_blocks(
    params: Params,
    x: Float[Array, "*pairs 2 d"],
    alpha: Array,
    act: str,
    edit: Edit | None = None,
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
    """All blocks on the tokens x_0, x_1.

    Returns:
        Of the last token: pre- and post-activations of every hidden layer [*pairs, m], block after
        block, and y_1 [*pairs, d].
    """
    pres: tuple[Array, ...] = ()
    posts: tuple[Array, ...] = ()
    for i, block in enumerate(params["blocks"]):
        # Only the last token of the last block is read.
        r = attend(block, x, alpha, 1 if i + 1 == len(params["blocks"]) else 2)
        tokens, pre, post = [], (), ()
        for t in range(r.shape[-2]):
            r_t = r[..., t, :]
            first = r_t @ block["W_in"] + block["b_in"]
            pre, post = hidden_layers(first, block["hidden"], act, edit, len(pres))
            tokens.append(r_t + post[-1] @ block["W_out"] + block["b_out"])
        pres, posts = (*pres, *pre), (*posts, *post)
        x = jnp.stack(tokens, axis=-2)
    return pres, posts, x[..., -1, :]


# All pairs of one block ---------------------------------------------------------------------------


def first_tokens(params: Params) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
    """x_0 for every a and x_1 for every b."""
    return params["E"] + params["P"][0], params["E"] + params["P"][1]


def per_head(block: Params, x: Float[Array, "n d"]) -> Float[Array, "n heads d"]:
    """What each head adds to the last token's stream if its weight on this token is one."""
    return jnp.einsum("nd,hde,hef->nhf", x, block["W_V"], block["W_O"])


def attention_tables(params: Params, alpha: Array) -> Tables:
    """One block with attention mix `alpha`, as tables over a and over b."""
    block, (x_0, x_1) = params["blocks"][0], first_tokens(params)
    ov_0, ov_1 = per_head(block, x_0), per_head(block, x_1)
    scale = jnp.float32(1 / math.sqrt(block["W_Q"].shape[-1]))
    q = scale * jnp.einsum("nd,hde->nhe", x_1, block["W_Q"])
    k_0 = jnp.einsum("nd,hde->nhe", x_0, block["W_K"])
    k_1 = jnp.einsum("nd,hde->nhe", x_1, block["W_K"])
    rows = {"k": k_0, "first": _first(block, ov_0)}
    readout = params["W_U"].T
    shared = {
        "q": q,
        "own": jnp.sum(q * k_1, axis=-1),
        "first": _first(block, ov_1),
        "base": _first(block, x_1),
        "bias": block["b_in"],
        "alpha": alpha,
        "readout": readout @ block["W_out"].T,
        "readout of r": readout,
        "c": readout @ block["b_out"],
        "hidden": block["hidden"],
    }
    return rows, shared


def _first(block: Params, r: Float[Array, "*batch d"]) -> Float[Array, "*batch m_and_d"]:
    """What a part of the stream adds to the first pre-activations, and itself."""
    return jnp.concatenate([r @ block["W_in"], r], axis=-1)


def attention_rows(rows: Params, shared: Params) -> Float[Array, "q n m_and_d"]:
    """First pre-activations without their bias, and the stream r_1, of q values of a."""
    w_0, w_1 = pair_weights(rows, shared)
    return mix(w_0, w_1, rows["first"], shared["first"]) + shared["base"]


def pair_weights(rows: Params, shared: Params) -> tuple[Array, Array]:
    """The last query's weights on a and on b, [q, n, heads] each."""
    score = jnp.einsum("ahe,bhe->abh", rows["k"], shared["q"]) - shared["own"]
    alpha = shared["alpha"]
    on_a, on_b = jax.nn.sigmoid(score), jax.nn.sigmoid(-score)
    return alpha * on_a + (1 - alpha), alpha * on_b + (1 - alpha)


def uniform_parts(params: Params) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
    """With alpha = 0 every weight is one: r_1 is the first of these at a plus the second at b."""
    block, (x_0, x_1) = params["blocks"][0], first_tokens(params)
    return jnp.sum(per_head(block, x_0), axis=1), jnp.sum(per_head(block, x_1), axis=1) + x_1
