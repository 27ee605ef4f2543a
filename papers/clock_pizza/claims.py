"""What the paper claims, how this code measures it, and the rules that judge the measurement.

The rules were fixed before the networks were trained. Places are by content: the numbering of the
paper's statements and tables could not be checked, but for Theorem 4.1 and Remark 4.2.
"""

from __future__ import annotations

import functools

from papers.clock_pizza import measures
from shared.experiment.spec import Claim

CLAIMS = (
    Claim(
        id="C1",
        statement="If both phases of every neuron of a cluster agree, its pre-activations factor "
        "through the vector-addition disc: X = V_disc W of rank 2.",
        place="Theorem 4.1 (i)",
        paper_value="rank 2, exact",
        measured_as="numerical rank, and what V_disc leaves unexplained, of 20 random clusters of "
        "20 simple neurons with equal phases",
        rule="reproduced if every rank is 2 and no residual exceeds 1e-12; partly if only that",
        measure=functools.partial(measures.measure_theorem, kind="disc"),
        judge=functools.partial(measures.judge_theorem, rank=2),
    ),
    Claim(
        id="C2",
        statement="If the two phases are independent, they factor through the torus: X = V_torus W "
        "of rank 4.",
        place="Theorem 4.1 (ii)",
        paper_value="rank 4, exact",
        measured_as="the same with independent phases and V_torus",
        rule="reproduced if every rank is 4 and no residual exceeds 1e-12; partly if only that",
        measure=functools.partial(measures.measure_theorem, kind="torus"),
        judge=functools.partial(measures.judge_theorem, rank=4),
    ),
    Claim(
        id="C3",
        statement="The disc is a linear projection of the torus: (x1, x2, x3, x4) -> "
        "(x1 + x3, x2 + x4).",
        place="text on the two manifolds",
        paper_value="exact",
        measured_as="largest entry of V_disc - V_torus P over all pairs",
        rule="reproduced below 1e-12",
        measure=measures.measure_projection,
        judge=measures.judge_projection,
    ),
    Claim(
        id="C4",
        statement="The clock's second-order form cannot appear in the first layer: no "
        "architecture's first layer resembles the circle cos(theta_a + theta_b).",
        place="Remark 4.2 and the table of CKA",
        paper_value="about 0 for all four",
        measured_as="CKA with the circle: ideal clusters, and clusters of trained networks",
        rule="reproduced if below 1e-12 for ideal clusters and at most 0.05 (upper end) for each "
        "architecture; partly if only for ideal ones",
        measure=measures.measure_circle,
        judge=measures.judge_circle,
    ),
    Claim(
        id="C5",
        statement="MLP-Add, Attention 0.0 and Attention 1.0 hold their inputs on a disc, "
        "MLP-Concat on a torus.",
        place="table of CKA in layer 1",
        paper_value="own manifold: Concat .994, Add .998, Att 0.0 .988, Att 1.0 .974; "
        "the other: .707, .706, .699, .689",
        measured_as="CKA of clusters with their own manifold and with the other, weighted by "
        "cluster size",
        rule="reproduced if own exceeds other in all four (intervals apart) and own lies within "
        "0.05 of the paper's number; partly if only the former",
        measure=measures.measure_cka,
        judge=measures.judge_cka,
    ),
    Claim(
        id="C6",
        statement="The same by the similarity of distance matrices (RSM).",
        place="table of RSM",
        paper_value="disc: Concat .578, Add .998, Att 0.0 .986",
        measured_as="RSM of clusters with the disc (Pearson correlation of Euclidean distances), "
        "weighted by cluster size",
        rule="reproduced if the three others exceed Concat (intervals apart) and the three known "
        "numbers are met within 0.05; partly if only the former",
        measure=measures.measure_rsm,
        judge=measures.judge_rsm,
    ),
    Claim(
        id="C7",
        statement="The logits of all four architectures lie on the circle (an annulus).",
        place="table of logits",
        paper_value="Concat .986, Add .926, Att 0.0 .940, Att 1.0 .941",
        measured_as="CKA of a cluster's logits with the circle, weighted by cluster size",
        rule="reproduced if all are within 0.05 of the paper's number and above 8 / pi^2, what an "
        "ideal pizza has (lower end); partly if one of the two",
        measure=measures.measure_logits,
        judge=measures.judge_logits,
    ),
    Claim(
        id="C8",
        statement="Phases of MLP-Add, Attention 0.0 and Attention 1.0 concentrate on a = b; those "
        "of MLP-Concat spread over the torus.",
        place="figure of phase alignment distributions",
        paper_value="by figure only",
        measured_as="mean distance of a neuron's argmax to a = b on the remapped torus, over that "
        "of a uniform law; share of neurons within two steps",
        rule="reproduced if the mean is below half of the uniform one in the three (upper end) and "
        "above three quarters in Concat (lower end); partly if one of the two",
        measure=measures.measure_alignment,
        judge=measures.judge_alignment,
    ),
    Claim(
        id="C9",
        statement="The distance between the phase alignment distributions of Attention 0.0 and 1.0 "
        "is tiny, though not zero; MLP-Add is near both; MLP-Concat is far from all.",
        place="figure of maximum mean discrepancies",
        paper_value="Att 0.0 / Att 1.0: 0.0237 and 0.0181 (two estimators), p about 0; kernel not "
        "known",
        measured_as="MMD of remapped argmax points, kernel exp(cos + cos - 2), jackknife intervals "
        "and permutation p over networks; n counts the networks of the rarer side",
        rule="reproduced if every MMD to Concat exceeds three times every other one, intervals "
        "apart, and the two attentions differ with p < 0.05; partly if intervals are apart",
        measure=measures.measure_mmd,
        judge=measures.judge_mmd,
    ),
    Claim(
        id="C10",
        statement="Betti numbers: a disc in layer 1 of MLP-Add, Attention 0.0 and Attention 1.0, a "
        "torus in that of MLP-Concat, a circle in the logits of all.",
        place="figure of Betti numbers",
        paper_value="(1,0,0), (1,2,1), (1,1,0) prevail",
        measured_as="share of examined clusters with those numbers, averaged over networks "
        "(needs the extra `topology`); n counts clusters",
        rule="reproduced if each share exceeds one half (lower end); partly if those of layer 1 do",
        measure=measures.measure_betti,
        judge=measures.judge_betti,
    ),
    Claim(
        id="C11",
        statement="Activity after the ReLU, summed over a cluster, is largest on a = b and decays "
        "with the distance from it in MLP-Add and Attention 1.0 as in Attention 0.0.",
        place="figure of summed activations",
        paper_value="by figure only",
        measured_as="mean activity at the largest remapped distance over that at distance 0, and "
        "the share of steps in between at which the mean profile falls",
        rule="reproduced if the ratio is at most one half (upper end) and nine steps in ten fall "
        "in the three, and the ratio is at least 0.8 in Concat (lower end); partly without Concat",
        measure=measures.measure_activity,
        judge=measures.judge_activity,
    ),
    Claim(
        id="C12",
        statement="Two principal components hold at least 95 % of the variance of a first-layer "
        "cluster of MLP-Add, Attention 0.0 and Attention 1.0.",
        place="authors' reply to referees",
        paper_value="at least .95",
        measured_as="share of variance of the first two components, weighted by cluster size",
        rule="reproduced if at least .95 in the three; partly if at least .90",
        measure=measures.measure_variance,
        judge=measures.judge_variance,
    ),
    Claim(
        id="C13",
        statement="First-order sinusoids suffice for the first layer of attention networks; second "
        "order adds little.",
        place="table of fits to the released models of Nanda et al. and Zhong et al.",
        paper_value="R^2 .964 to .998, second order at most .035",
        measured_as="mean R^2 of alive neurons, and what the second order adds, in OUR attention "
        "networks: the released checkpoints are not part of this repository",
        rule="reproduced if both kinds of attention have at least .95 and at most .035; partly if "
        "one of the two bounds holds",
        measure=measures.measure_order,
        judge=measures.judge_order,
    ),
    Claim(
        id="C14",
        statement="The metrics of Zhong et al. do not show two classes of circuit between "
        "Attention 0.0 and 1.0; only MLP-Concat is another manifold.",
        place="discussion",
        paper_value="by figure only",
        measured_as="gradient symmetricity s and distance irrelevance q of the four architectures; "
        "largest step of the mean between neighbouring attention rates over the whole change",
        rule="reproduced if neither metric tells Attention 0.0 from 1.0 (intervals overlap); "
        "partly if the ends differ but the sweep has no step above 0.6 of the change",
        measure=measures.measure_zhong,
        judge=measures.judge_zhong,
    ),
)
