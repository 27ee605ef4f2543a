"""Names and places in what a trained network returns; light, for those that only draw it."""

CURVES = ("train_accuracy", "test_accuracy", "margin_mean", "test_loss", "count", "r2",
          "energy_share", "alive")  # fmt: skip
"""Curves by update, in the order of the last axis of `curves`."""

R2_FILTERS = (0.0, 0.5, 0.9, 0.95)
SHARE_FILTERS = (0.0, 0.01, 0.02, 0.05)
"""Filters of `counts` [R^2, share]; a share of 0 counts every label that any neuron has."""

PAIRS = ((0, 0), (2, 2), (4, 4))
"""Pairs (a, b) at which a cluster's logits are kept as an example of equivariance."""

SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the largest cluster that are removed at random, the axis of `removal`."""
