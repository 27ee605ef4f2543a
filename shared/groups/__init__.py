"""Finite groups: tables, irreps, Fourier transform, cosets and Cayley graphs (exact, NumPy only),
and networks trained on their tables (JAX).

Names load when they are first used, so that importing this package costs nothing.

    group      Group, its constructors, `parse("D7")`, `check_group`
    irreps     complex and real irreps of any finite group, characters, kernels
    fourier    group Fourier transform, energy per irrep, isotypic projections, convolution
    subgroups  subgroups, cosets, quotients, approximate cosets
    cayley     Cayley graphs, coset graphs, whether two graphs are the same
    task       the table as a learning task: which products are shown, which are kept back
    networks   MLPs and transformers on pairs of elements, all pairs at once
    loss       cross-entropy over the whole table and its gradient, block by block
    optimiser  Adam with L2 in the loss or decoupled decay, schedules
    training   many networks at once, resumable

What networks trained on a table have learned, from plain arrays:

    preactivations  of a layer on all pairs: a grid, or the sum of a left and a right part
    neurons    on Z_n: dominant frequency, R^2, phases, fits, harmonics, remapping
    isotypic   on any group: the irrep of every neuron, on each of its inputs
    clusters   neurons of one frequency or irrep; counts under several filters
    circuits   contributions to the logits, ablations, substitutions, margins
    similarity CKA, correlation of distances, reference sets, distance irrelevance
    pad        where neurons peak, MMD between populations of networks
    topology   Betti numbers (extra `topology`)
    growth     counts against ln n and against n
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "group": (
        "Group alternating check_group cyclic dihedral from_permutations from_table generators"
        " parse product special_linear symmetric"
    ),
    "irreps": (
        "Irrep character_table check_irreps common_kernel complex_irreps conjugacy_classes"
        " frobenius_schur real_irreps squared_distances"
    ),
    "fourier": "convolve energy energy2 gft igft isotypic_projection",
    "subgroups": (
        "Quotient Step all_subgroups approximate_coset coset_score cosets cyclic_subgroups"
        " double_cosets generated is_normal is_subgroup normal_subgroups quotient step_size"
    ),
    "cayley": "CayleyGraph cayley_graph coset_graph is_coset_graph isomorphism spectrum",
    "task": "CayleyTask permuted_labels stacked_labels train_masks",
    "networks": (
        "GridOut ModelSpec additive_parts attention_weights embedding_gradients forward_embeddings"
        " forward_grid forward_pairs init parameter_count readout residual_logits"
    ),
    "optimiser": "Hyper TrainSpec adam_step schedule",
    "training": (
        "TrainResult TrainState evaluate init_train network_params train_chunk train_many train_one"
    ),
    "preactivations": "main_effects",
    "neurons": (
        "Fit HalfFit Neurons Sinusoids cyclic_neurons dft2 first_order fit_sinusoids"
        " frequency_mask half_integer_fit is_harmonic remap remap_positions sinusoids"
        " spectral_lines"
    ),
    "isotypic": "irrep_first_order irrep_neurons irrep_shares",
    "clusters": "Clusters CountTable count_table find_clusters",
    "circuits": (
        "Ablations Score ablate_neurons ablations class_means cluster_logits contributions"
        " margins network_logits score substitute"
    ),
    "similarity": (
        "cka_gram distance_irrelevance gradient_symmetricity linear_cka pc_variance reference"
        " rsm rsm_table"
    ),
    "pad": "MMD mmd2_unbiased mmd_permutation pad_points torus_distance",
    "topology": "Betti Recipe betti too_small",
    "growth": "Growth Line fit_growth",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __dir__() -> list[str]:
    return sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
