"""The networks that the papers train on a group's table: MLPs on pairs, and small transformers.

    symbol    here
    n         order of the group: values of each input, and classes
    d, m      embedding dimension, width of a hidden layer
    pre       pre-activations of a hidden layer, post = act(pre)

For all but attention with alpha > 0, the first hidden layer is a sum of two tables,

    pre(a, b) = A[a] + B[b] + bias                        A, B [n, m]

    arch            A                     B                              logits
    onehot_concat   W_a                   W_b                            post U (+ c)
    embed_concat    E_a W_a               E_b W_b                        post U (+ c)
    embed_add       E_a W                 E_b W                          post U (+ c)
    attn_uniform    x_0 OV W_in           (x_1 OV + x_1) W_in            (post W_out + r) W_U (+ c)
    attn            weights on a and b depend on both: see transformer.py

with E_a = E_b = E unless `tie_embed` is off, x_t = E + P[t], OV = sum_h W_V^h W_O^h. So all n^2
pairs cost one broadcast sum, where pair by pair each takes a product with the first weights.
`attn_uniform` has the parameters and outputs of `attn` with alpha = 0, and is faster.

Everything here is one network; `jax.vmap` over parameters (and alpha) for many.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key

from shared.experiment.errors import BadInput
from shared.groups import transformer
from shared.groups.layers import (
    ACTIVATIONS,
    Edit,
    Normal,
    class_major,
    draw,
    hidden_layers,
    hidden_layout,
)

ARCHS = ("onehot_concat", "embed_concat", "embed_add", "attn_uniform", "attn")
INITS = ("fan_in", "he")
Params = dict[str, Any]
Given = Array | np.ndarray
Alpha = Any  # a number or a traced scalar, None where there is no attention


@dataclass(frozen=True)
class ModelSpec:
    """One architecture with its sizes; hashable, so that one program is compiled for each.

    Attributes:
        arch: see above. order: n of the group.
        d_embed, width: d and m. depth: hidden layers of the MLP (in each block), 1 to 4.
        heads, blocks: of the transformers; 1 or 2 blocks.
        act: "relu", or "quadratic" (x^2).
        tie_embed: one embedding for both inputs, or E_a and E_b (MLPs).
        out_bias: whether logits have a bias c.
        init: normal weights in any case, biases 0. "fan_in": variance 1 / inputs for MLPs, 1 / d
            for embeddings, and those of Zhong et al.'s code for transformers. "he" (MLPs only):
            variance 2 / inputs, for embeddings 2 / n.
    """

    arch: str
    order: int
    d_embed: int = 128
    width: int = 512
    depth: int = 1
    heads: int = 4
    blocks: int = 1
    act: str = "relu"
    tie_embed: bool = True
    out_bias: bool = False
    init: str = "fan_in"

    def __post_init__(self) -> None:
        _one_of("arch", self.arch, ARCHS)
        _one_of("act", self.act, ACTIVATIONS)
        _one_of("init", self.init, INITS)
        if self.order < 2:
            raise BadInput(f"order, that of the group, is at least 2, not {self.order}.")
        for name in ("d_embed", "width", "heads"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is at least 1, not {getattr(self, name)}.")
        if not 1 <= self.depth <= 4:
            raise BadInput(f"depth, the number of hidden layers, is 1 to 4, not {self.depth}.")
        if self.blocks not in (1, 2):
            raise BadInput(f"blocks is 1 or 2, not {self.blocks}.")
        if self.is_transformer:
            self._check_transformer()
        elif self.blocks != 1:
            raise BadInput(f"{self.arch} has no transformer blocks: leave blocks at 1.")
        if not self.tie_embed and self.arch not in ("embed_concat", "embed_add"):
            raise BadInput(
                f"Only embed_concat and embed_add can untie embeddings, not {self.arch}."
            )

    def _check_transformer(self) -> None:
        if self.d_embed % self.heads:
            raise BadInput(
                f"heads must divide d_embed; {self.heads} does not divide {self.d_embed}."
            )
        if self.init != "fan_in":
            raise BadInput("Transformers are initialised by 'fan_in' only.")

    @property
    def is_transformer(self) -> bool:
        return self.arch in ("attn", "attn_uniform")

    @property
    def additive(self) -> bool:
        """Whether the first pre-activations are A[a] + B[b] + bias."""
        return self.arch != "attn" and self.blocks == 1


class GridOut(NamedTuple):
    """All pairs, indexed [a, b]: each hidden layer's pre- and post-activations (of the last token;
    of a transformer's blocks one after another), and logits."""

    pre: tuple[Float[Array, "n n m"], ...]
    post: tuple[Float[Array, "n n m"], ...]
    logits: Float[Array, "n n n"]


# Parameters ---------------------------------------------------------------------------------------


def init(key: Key[Array, ""], spec: ModelSpec) -> Params:
    """Fresh parameters by name.

    onehot_concat: W_a, W_b [n, m], b [m]. embed_concat: E [n, d] (or E_a, E_b), W_a, W_b [d, m], b.
    embed_add: E (or E_a, E_b), W [d, m], b. These three: `hidden`, a tuple of {W [m, m], b [m]} of
    layers 2 .. depth, and U [m, n]. Transformers: E, P [2, d], `blocks`, a tuple of {W_Q, W_K, W_V
    [H, d, d/H], W_O [H, d/H, d], W_in [d, m], b_in, hidden, W_out [m, d], b_out}, W_U [d, n].
    c [n] if `out_bias`.
    """
    return draw(key, _layout(spec))


def _layout(spec: ModelSpec) -> Params:
    n, d, m = spec.order, spec.d_embed, spec.width
    if spec.is_transformer:
        params = transformer.layout(n, d, m, spec.heads, spec.blocks, spec.depth)
    else:
        params = _mlp_layout(spec)
    return params | ({"c": Normal((n,))} if spec.out_bias else {})


def _mlp_layout(spec: ModelSpec) -> Params:
    n, d, m = spec.order, spec.d_embed, spec.width
    gain, embed = (1.0, 1 / d) if spec.init == "fan_in" else (2.0, 2 / n)
    inputs = n if spec.arch == "onehot_concat" else d
    params: Params = {}
    if spec.arch != "onehot_concat":
        names = ("E",) if spec.tie_embed else ("E_a", "E_b")
        params |= dict.fromkeys(names, Normal((n, d), embed))
    if spec.arch == "embed_add":
        params |= {"W": Normal((d, m), gain / d)}
    else:
        params |= dict.fromkeys(("W_a", "W_b"), Normal((inputs, m), gain / (2 * inputs)))
    return params | {
        "b": Normal((m,)),
        "hidden": hidden_layout(m, spec.depth, gain / m),
        "U": Normal((m, n), gain / m),
    }


def parameter_count(spec: ModelSpec) -> int:
    """How many numbers are trained."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(_layout(spec)))


def arrays(params: Params) -> Params:
    """Parameters as JAX arrays: kept or loaded ones are NumPy's (`training.network_params`)."""
    return jax.tree.map(jnp.asarray, params)


# Pair by pair -------------------------------------------------------------------------------------


def forward_pairs(
    params: Params, spec: ModelSpec, ab: Int[Given, "pairs 2"], alpha: Alpha = None
) -> Float[Array, "pairs n"]:
    """Logits of the pairs `ab`, each on its own: the definition, and the route of minibatches."""
    params = arrays(params)
    table_a, table_b = _embeddings(params, spec)
    x_a, x_b = table_a[ab[:, 0]], table_b[ab[:, 1]]
    mix = _alpha(spec, alpha)
    return jax.vmap(lambda a, b: forward_embeddings(params, spec, a, b, mix))(x_a, x_b)


def forward_embeddings(
    params: Params,
    spec: ModelSpec,
    x_a: Float[Array, " d"],
    x_b: Float[Array, " d"],
    alpha: Alpha = None,
) -> Float[Array, " n"]:
    """Logits of one pair, from its token embeddings (before positions are added; one-hot rows for
    onehot_concat)."""
    params = arrays(params)
    mix = _alpha(spec, alpha)
    if spec.is_transformer:
        x = jnp.stack([x_a, x_b]) + params["P"]
        _, _, y = transformer.run_blocks(params, x, mix, spec.act)
        logits = y @ params["W_U"]
    else:
        if spec.arch == "embed_add":
            first = (x_a + x_b) @ params["W"] + params["b"]
        else:
            weights = jnp.concatenate([params["W_a"], params["W_b"]])
            first = jnp.concatenate([x_a, x_b]) @ weights + params["b"]
        _, posts = hidden_layers(first, params["hidden"], spec.act)
        logits = posts[-1] @ params["U"]
    return logits + params["c"] if spec.out_bias else logits


def embedding_gradients(
    params: Params, spec: ModelSpec, triples: Int[Given, "triples 3"], alpha: Alpha = None
) -> tuple[Float[Array, "triples d"], Float[Array, "triples d"]]:
    """Gradients of logit c at the pair (a, b) in the embeddings of a and of b, for (a, b, c) each.

    Zhong et al.'s gradient symmetricity is the mean cosine between the two.
    """
    params = arrays(params)
    table_a, table_b = _embeddings(params, spec)
    mix = _alpha(spec, alpha)

    def logit(x_a: Array, x_b: Array, c: Array) -> Array:
        return forward_embeddings(params, spec, x_a, x_b, mix)[c]

    a, b, c = jnp.asarray(triples).T
    return jax.vmap(jax.grad(logit, (0, 1)))(table_a[a], table_b[b], c)


def _embeddings(params: Params, spec: ModelSpec) -> tuple[Array, Array]:
    if spec.arch == "onehot_concat":
        table = jnp.eye(spec.order, dtype=jnp.float32)
        return table, table
    return (params["E"], params["E"]) if spec.tie_embed else (params["E_a"], params["E_b"])


# All pairs ----------------------------------------------------------------------------------------


def forward_grid(
    params: Params, spec: ModelSpec, alpha: Alpha = None, edit: Edit | None = None
) -> GridOut:
    """Activations and logits of all pairs.

    Args:
        alpha: attention mix in [0, 1]; needed by "attn", ignored elsewhere.
        edit: called as `edit(layer, pre)` with each hidden layer's pre-activations [n, n, m],
            layers counted from 0; what it returns is used in their place by everything downstream.
            In the first of two blocks it is called for each of the two tokens.
    """
    rows, shared = tables(params, spec, alpha)
    pre, post, logits = grid_rows(rows, shared, spec, edit)
    return GridOut(pre, post, jnp.moveaxis(logits, 0, -1))


def tables(params: Params, spec: ModelSpec, alpha: Alpha = None) -> transformer.Tables:
    """All that logits depend on, as what belongs to each a (leaves with first axis n), and what all
    share; `grid_rows` takes any of the former with all of the latter."""
    params = arrays(params)
    mix = _alpha(spec, alpha)
    if spec.blocks > 1:
        x_0, x_1 = transformer.first_tokens(params)
        return {"x": x_0}, {"x": x_1, "alpha": mix, "params": params}
    if spec.arch == "attn":
        rows, shared = transformer.attention_tables(params, mix)
        return rows, shared | ({"c": shared["c"] + params["c"]} if spec.out_bias else {})
    a, b, bias = additive_parts(params, spec)
    u, c = readout(params, spec)
    if not spec.is_transformer:
        hidden, logits = params["hidden"], ({"logits": c[None]} if spec.out_bias else {})
        return {"A": a}, {"B": b + bias, "readout": u.T, "hidden": hidden, **logits}
    block, (r_0, r_1) = params["blocks"][0], transformer.uniform_parts(params)
    rows = {"A": a, "logits": r_0 @ params["W_U"]}
    return rows, {
        "B": b + bias,
        "readout": u.T,
        "hidden": block["hidden"],
        "logits": (r_1 + block["b_out"]) @ params["W_U"] + c,
    }


def grid_rows(
    rows: Params, shared: Params, spec: ModelSpec, edit: Edit | None = None
) -> tuple[tuple[Array, ...], tuple[Array, ...], Float[Array, "n q n"]]:
    """Pre- and post-activations [q, n, m] of q values of a and all b, and logits, classes first."""
    if spec.blocks > 1:
        return _two_block_rows(rows, shared, spec, edit)
    first = transformer.attention_rows(rows, shared) if spec.arch == "attn" else None
    if first is None:
        pre = rows["A"][:, None] + shared["B"]
    else:
        pre = first[..., : spec.width] + shared["bias"]
    pres, posts = hidden_layers(pre, shared["hidden"], spec.act, edit)
    logits = _class_major(shared["readout"], posts[-1])
    # What does not come from the last hidden layer:
    if first is not None:
        logits = logits + _class_major(shared["readout of r"], first[..., spec.width :])
        logits = logits + shared["c"][:, None, None]
    else:
        for part, axis in ((rows, 2), (shared, 1)):
            if "logits" in part:
                logits = logits + jnp.expand_dims(part["logits"].T, axis)
    return pres, posts, logits


def _class_major(u: Float[Array, "n m"], x: Float[Array, "q n m"]) -> Float[Array, "n q n"]:
    q, n, m = x.shape
    return class_major(u, x.reshape(q * n, m)).reshape(n, q, n)


def _two_block_rows(
    rows: Params, shared: Params, spec: ModelSpec, edit: Edit | None
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
    params, (n, d) = shared["params"], shared["x"].shape
    shape = (len(rows["x"]), n, d)
    x_0 = jnp.broadcast_to(rows["x"][:, None], shape)
    x = jnp.stack([x_0, jnp.broadcast_to(shared["x"], shape)], axis=2)
    pres, posts, y = transformer.run_blocks(params, x, shared["alpha"], spec.act, edit)
    logits = y @ params["W_U"]
    return pres, posts, jnp.moveaxis(logits + params["c"] if spec.out_bias else logits, -1, 0)


# Parts of it --------------------------------------------------------------------------------------


def additive_parts(
    params: Params, spec: ModelSpec
) -> tuple[Float[Array, "n m"], Float[Array, "n m"], Float[Array, " m"]]:
    """(A, B, bias) with first pre-activations A[a] + B[b] + bias."""
    if not spec.additive:
        raise BadInput(
            f"The first layer of {spec.arch} with blocks={spec.blocks} is no sum of a part of a "
            "and one of b; that of attn_uniform with one block is."
        )
    params = arrays(params)
    if spec.is_transformer:
        block, (r_0, r_1) = params["blocks"][0], transformer.uniform_parts(params)
        return r_0 @ block["W_in"], r_1 @ block["W_in"], block["b_in"]
    if spec.arch == "onehot_concat":
        return params["W_a"], params["W_b"], params["b"]
    x_a, x_b = _embeddings(params, spec)
    w_a, w_b = ("W", "W") if spec.arch == "embed_add" else ("W_a", "W_b")
    return x_a @ params[w_a], x_b @ params[w_b], params["b"]


def readout(params: Params, spec: ModelSpec) -> tuple[Float[Array, "m n"], Float[Array, " n"]]:
    """(U, c): what the last hidden layer adds to the logits is post U; c is the logits' bias.

    For transformers U = W_out W_U, and what the residual stream adds is not in it.
    """
    params = arrays(params)
    last = params["blocks"][-1]["W_out"] @ params["W_U"] if spec.is_transformer else params["U"]
    return last, params["c"] if spec.out_bias else jnp.zeros(spec.order, jnp.float32)


def residual_logits(params: Params, spec: ModelSpec, alpha: Alpha = None) -> Float[Array, "n n n"]:
    """Logits less post U + c: what reaches them past the last hidden layer. Zero for MLPs."""
    out = forward_grid(params, spec, alpha)
    u, c = readout(params, spec)
    return out.logits - out.post[-1] @ u - c


def attention_weights(
    params: Params, spec: ModelSpec, alpha: Alpha = None
) -> Float[Array, "n n heads 2"]:
    """The first block's weights of the last token's query on tokens a and b."""
    if not spec.is_transformer:
        raise BadInput(f"{spec.arch} has no attention.")
    rows, shared = transformer.attention_tables(arrays(params), _alpha(spec, alpha))
    return jnp.stack(transformer.pair_weights(rows, shared), axis=-1)


def _alpha(spec: ModelSpec, alpha: Alpha) -> Float[Array, ""]:
    """The attention mix as an array; checked where it is a plain number."""
    if spec.arch != "attn":
        return jnp.float32(0)
    if alpha is None:
        raise BadInput("The architecture 'attn' needs alpha, its attention mix in [0, 1].")
    if not isinstance(alpha, Tracer) and not 0 <= float(alpha) <= 1:
        raise BadInput(f"alpha, the attention mix, lies in [0, 1], not {float(alpha):g}.")
    return jnp.asarray(alpha, jnp.float32)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise BadInput(f"{name} {value!r} is not known; allowed are {', '.join(allowed)}.")
