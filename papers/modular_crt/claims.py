"""What the paper claims, how this code measures it, and the rules that judge the measurement.

The rules were fixed before the evidence was made. All statistics of circuits are over networks that
answer all n^2 pairs; intervals resample networks. A count of frequencies is that of major clusters
(3 neurons and 1 % of the alive ones, or more) after the last update, unless its label says else.
"""

from papers.modular_crt import evidence, evidence_circuits
from shared.experiment.spec import Claim

CLAIMS = (
    Claim(
        id="C1",
        statement="First-layer neurons of MLPs, pizzas and clocks are simple: one sinusoid in a "
        "plus one in b, of the same frequency.",
        place="figures 1, 5, 6, 7",
        paper_value="very high (by figure only)",
        measured_as="mean over alive neurons of R^2 of the fit alpha_L cos(2 pi f a/n + phi_L) + "
        "alpha_R cos(2 pi f b/n + phi_R) + const, each neuron at its best f; and the share of "
        "second-order terms at that f",
        rule="reproduced if the mean R^2 is at least 0.9 (lower end) for MLP, pizza and clock; "
        "partly if for one of them",
        finding="MLPs and pizzas are simple. Clocks fall short at this budget: softmax "
        "attention makes their first layer depend on a and b together (the rows of "
        "second order).",
        measure=evidence.measure_simple,
        judge=evidence.judge_simple,
    ),
    Claim(
        id="C2",
        statement="Remapping by the step size turns every simple neuron into one of frequency 1.",
        place="definitions 4.1 and 4.2, figure 1",
        paper_value="exact",
        measured_as="share of all (f, n), 5 <= n <= 67, where the remapped sinusoid's only DFT "
        "line is at 1",
        rule="reproduced if it is so for all of them",
        measure=evidence.measure_remap,
        judge=evidence.judge_remap,
    ),
    Claim(
        id="C3",
        statement="Where a simple neuron's ReLU is positive is an approximate coset: a path on "
        "the Cayley graph whose step is the step size.",
        place="theorem 4.4, figure 2",
        paper_value="exact",
        measured_as="share of all (f, n, s), 5 <= n <= 67, where {x: cos(2 pi f (x - s)/n) > 0} "
        "equals {s + d j : |j| < n'/4} + n'Z, and where it is a path of whole cosets",
        rule="reproduced if both hold for all of them",
        measure=evidence.measure_cosets,
        judge=evidence.judge_cosets,
    ),
    Claim(
        id="C4",
        statement="More than (2 ln n - 2 ln(2 - 2 rho)) / (ln(pi/delta) - 1) random frequencies "
        "have a gap above delta m with probability rho.",
        place="theorem 4.7",
        paper_value="m > ln n for delta = pi/e^3 = 0.156, rho = 1/2",
        measured_as="Monte Carlo at the smallest such m: P(gap > delta m) - rho, the least over "
        "n, for every delta and rho",
        rule="reproduced if no lower end is below 0; partly if so for delta up to 0.157, the "
        "paper's own",
        finding="The formula is the small-delta limit of the true large-deviation rate. At delta "
        "= 0.5 and 0.75 it asks for too few frequencies; `oracle.sufficient_frequencies` gives a "
        "number that is enough at every delta.",
        measure=evidence.measure_theorem,
        judge=evidence.judge_theorem,
    ),
    Claim(
        id="C5",
        statement="O(log n) frequencies give a margin of order log n, and wrong classes a softmax "
        "mass of n^-Omega(1).",
        place="corollary 4.8, figure 12",
        paper_value="networks with one frequency: mean margin 2.82 (one standard deviation: "
        "2.80-2.84)",
        measured_as="with C ln n random frequencies at unit amplitude, slope of the mean gap and "
        "of the log wrong mass on ln n; in trained networks, slope of the mean margin on the "
        "number of frequencies",
        rule="reproduced if all gaps grow, the exponent is negative for some C, and the margin of "
        "trained networks rises with their number of frequencies (lower end) wherever that number "
        "varies; partly if the first two hold",
        finding="In trained networks the penalty fixes the size of the logits, so that "
        "margins hardly follow the number of frequencies; clocks excepted.",
        measure=evidence.measure_corollary,
        judge=evidence.judge_corollary,
    ),
    Claim(
        id="C6",
        statement="The number of frequencies grows like log n in MLPs, pizzas and clocks, for "
        "prime and composite n alike.",
        place="figure 3",
        paper_value='"very high" R^2 of the log fit (by figure only); about 4.5 at n = 89 and 91',
        measured_as="slope of the number of frequencies on ln n over networks; R^2 of a log and "
        "of a linear fit to the means; residuals of prime less composite n",
        rule="reproduced if in all three every slope is positive (lower end), every log fit has "
        "R^2 of at least 0.8 and more than the linear one, and primes differ by at most 1; partly "
        "if some slope is positive",
        finding="At one setting for all n (preset cpu) it grows in all three, by 0.6 to 0.8 "
        "frequencies per ln n. From n = 11 to 67 that is one frequency and a half, as "
        "much as single n differ: log and linear fits are too close to choose between.",
        measure=evidence.measure_growth,
        judge=evidence.judge_growth,
    ),
    Claim(
        id="C7",
        statement="A one-hot MLP with one hidden layer learns all floor(n/2) frequencies; a "
        "second hidden layer or a trainable embedding leaves a handful.",
        place="figure 4",
        paper_value="29 to 33 against 3 to 7",
        measured_as="mean number of frequencies in layer 1",
        rule="reproduced if one-hot has at least 0.9 floor(n/2) (lower end) and the other two "
        "fewer than 8 (upper end); partly if one-hot has, and embedding fewer than 8 or depth at "
        "most 20",
        finding="A second hidden layer leaves a one-hot network with 10 to 14 frequencies, "
        "not with a handful; more updates would not help, half-way there are hardly "
        "more.",
        measure=evidence.measure_onehot,
        judge=evidence.judge_onehot,
    ),
    Claim(
        id="C8",
        statement="More depth means fewer frequencies, and yet a lower loss and larger margins.",
        place="figures 40 to 42",
        paper_value="by figure only",
        measured_as="deepest less shallowest: frequencies in layer 1, cross-entropy and mean "
        "margin over all pairs",
        rule="reproduced if, one-hot and embedded, frequencies and loss fall (upper end) and "
        "margins rise (lower end); partly if frequencies fall in one, or loss and margin improve "
        "in both",
        measure=evidence.measure_depth,
        judge=evidence.judge_depth,
    ),
    Claim(
        id="C9",
        statement="Wider layers have fewer secondary DFT peaks: one sine suffices.",
        place="figure 5",
        paper_value="R^2 rises with width, 512 to 16384 (by figure only)",
        measured_as="mean R^2 of first-layer neurons of an MLP against width",
        rule="reproduced if the widest beats the narrowest (lower end) and has at least 0.95; "
        "partly if it beats it",
        finding="At 1500 updates neurons of all widths are simple, narrow ones no less; after "
        "1000 (preset quick) narrow networks still lag.",
        measure=evidence.measure_width,
        judge=evidence.judge_width,
    ),
    Claim(
        id="C10",
        statement="Replacing every neuron by its fit keeps 100 % accuracy over a large grid of "
        "learning rates and decays: first-order fits in MLPs, first and second order after layer "
        "1 in transformers.",
        place="figures 6, 7",
        paper_value="most cells keep 100 % (by figure only)",
        measured_as="share of networks (over all cells) that answered all pairs before and do so "
        "after the substitution of all neurons of all layers",
        rule="reproduced if more than half do (lower end): MLPs of two depths or more by first "
        "order; pizzas and clocks with one layer by first order, deeper ones by second order "
        "after layer 1; partly if MLPs with one layer do",
        finding="Second layers of MLPs are sinusoids in a + b: first-order fits after layer 1 "
        "destroy the answer, second-order ones keep it. Clocks need second order in "
        "layer 1 already.",
        measure=evidence_circuits.measure_substitution,
        judge=evidence_circuits.judge_substitution,
    ),
    Claim(
        id="C11",
        statement="In two-layer transformers a share of layer-2 neurons is fitted best by "
        "first-order terms alone, near 100 % at good settings.",
        place="figure 8",
        paper_value="up to about 100 % (by figure only)",
        measured_as="share of alive neurons of layer 2 that first-order terms in a and b explain "
        "better than second-order terms in a + b and a - b do, over the frequencies of layer 1",
        rule="reproduced if it reaches 0.9 in some setting; partly if 0.5",
        measure=evidence_circuits.measure_later,
        judge=evidence_circuits.judge_later,
    ),
    Claim(
        id="C12",
        statement="At composite n networks prefer exact cosets (frequencies that share a factor "
        "with n); clusters with 2 or 3 cosets need fewer neurons and are simpler.",
        place="figures 9, 36",
        paper_value="by figure only (n = 66, 5000 networks)",
        measured_as="share of learned frequencies with gcd(f, n) > 1 less that of all "
        "frequencies; size and R^2 of clusters with n' <= 3 less those of others",
        rule="reproduced if the share is above chance (lower end) at every depth, and such "
        "clusters are smaller and simpler; partly if the share is above chance somewhere",
        finding="n/2 above all is preferred. Clusters of 2 or 3 cosets are smaller and "
        "simpler at both depths; that the preference is above chance is certain at "
        "one layer only.",
        measure=evidence_circuits.measure_preference,
        judge=evidence_circuits.judge_preference,
    ),
    Claim(
        id="C13",
        statement="Which frequencies are learned is uniform over seeds; given one, its half and "
        "its double are rarer.",
        place="figure 31",
        paper_value="n = 91 and 89, each frequency about 10,000 times in 100,000 seeds; given 2, "
        "frequencies 1 and 4 are rarer; given 7, 14 and 43",
        measured_as="p of a chi-square test of uniform frequencies; share of a network's pairs "
        "that are half or double of each other, modulo n and up to sign, as a multiple of chance "
        "(prime n)",
        rule="reproduced if no p is below 0.01 and the multiple is below 1 (upper end); partly if "
        "one of the two",
        finding="For prime n uniformity needs no test: initial weights and splits are "
        "exchangeable over tokens, so a -> u a leaves the law of trained networks "
        "unchanged. At n = 21 frequencies that share a factor with n are preferred, "
        "as C12 has it.",
        measure=evidence_circuits.measure_uniform,
        judge=evidence_circuits.judge_uniform,
    ),
    Claim(
        id="C14",
        statement="Fine-tuning neurons, which mix harmonics of a base frequency, appear in about "
        "a quarter of runs; without them accuracy hardly falls.",
        place="appendix G.4 to G.8",
        paper_value="about 25 % of runs",
        measured_as="share of MLPs with 3 or more alive neurons that have at least 3 DFT lines "
        "above 5 % of their energy, all within 4 harmonics of one base; accuracy without these "
        "neurons",
        rule="reproduced if the interval holds 0.25 and the mean accuracy without them is at "
        "least 0.99; partly if there are such runs",
        finding="Settled MLPs of this recipe have none; at laxer thresholds there are some.",
        measure=evidence_circuits.measure_tuned,
        judge=evidence_circuits.judge_tuned,
    ),
    Claim(
        id="C15",
        statement="A cluster's contribution to the logits is approximately equivariant: moving a "
        "and b by 2 moves it by 4.",
        place="figure 43",
        paper_value="by figure only",
        measured_as="mean over major clusters of the equivariance error over all shifts (0 "
        "perfect, 0.38 the ideal disc, 2 unrelated)",
        rule="reproduced if it is at most 0.5 (upper end) for MLP, pizza and clock; partly if for "
        "one",
        finding="Pizzas and clocks have equal phases in a and b, like the ideal disc (0.38): "
        "their amplitude varies with a - b. In MLPs phases are independent.",
        measure=evidence_circuits.measure_equivariance,
        judge=evidence_circuits.judge_equivariance,
    ),
    Claim(
        id="C16",
        statement="The loss survives multiplicative weight noise exp(N(0, sigma)) up to sigma of "
        "about 0.225.",
        place="figure 37",
        paper_value="0.225",
        measured_as="sigma at which the mean loss over all pairs has doubled, noise on all "
        "weights into and out of all hidden neurons, or of the largest cluster",
        rule="reproduced if it is at least 0.2 (lower end) for all neurons in MLP, pizza and "
        "clock; partly if accuracy at sigma nearest 0.225 is at least 0.99 (lower end) in all",
        measure=evidence_circuits.measure_noise,
        judge=evidence_circuits.judge_noise,
    ),
    Claim(
        id="C17",
        statement="Embeddings that look like Lissajous figures are pairs of principal components "
        "of two different frequencies.",
        place="appendix G.1",
        paper_value="exact pattern",
        measured_as="mean share of the largest DFT line of the principal components that hold 95 "
        "% of the embedding's variance; share of neighbouring components of one frequency (a "
        "circle)",
        rule="reproduced if the largest line has at least 0.8 (lower end) in MLP, pizza and "
        "clock, and pairs of both kinds occur; partly if it has in one",
        measure=evidence_circuits.measure_embedding,
        judge=evidence_circuits.judge_embedding,
    ),
)
