"""What the paper claims, and the rules that judge what this code measured.

C1 to C12 are the paper's statements in the order in which this room explains them; C13 to C15 are
theorems that these leave out. Each rule is code in `verdicts.py`.
"""

from __future__ import annotations

from papers.temperature_decoupling import verdicts
from shared.experiment.spec import Claim

CLAIMS = (
    Claim(
        id="C1",
        statement="The optimal soft values q*_tau increase to q*_ref as the temperature falls.",
        place="Lemma B.1, Theorem 3.2",
        paper_value="monotone; limit q*_ref",
        measured_as="q*_tau at eight temperatures from 0.3 to 1e-12 against each other and q*_ref",
        rule="reproduced if no value rises with tau by more than 1e-12 of the largest |q|, and at "
        "tau = 1e-12 the distance to q*_ref is at most 1e-10",
        measure=verdicts.enough(verdicts.measure_monotone),
        judge=verdicts.all_below((verdicts.ROUNDING, 1e-10)),
    ),
    Claim(
        id="C2",
        statement="The error of the values is linear in the temperature: "
        "||q*_ref - q*_tau|| <= gamma/(1-gamma) tau log(1/p_ref).",
        place="Lemma B.10 (under Assumption 3.4)",
        paper_value="ratio at most 1",
        measured_as="the error over the bound at eight temperatures from 0.3 to 1e-12",
        rule="reproduced if no ratio exceeds 1 by more than rounding, and M1 attains it to 1e-9; "
        "partly if only the former",
        measure=verdicts.enough(verdicts.measure_linear),
        judge=verdicts.judge_linear,
    ),
    Claim(
        id="C3",
        statement="Boltzmann-Gibbs policies of q and q' differ by "
        "TV <= min(sqrt d, sinh(2d)/2), d = ||q - q'|| / tau: linear in d for d < 1/2.",
        place="Theorem 3.6",
        paper_value="ratio at most 1",
        measured_as="TV over the bound for random values 1e-3 to 10 temperatures apart and for "
        "soft values at neighbouring temperatures; TV / d; and TV over the sharp bound tanh(d/2), "
        "which is ours",
        rule="reproduced if no ratio exceeds 1 by more than rounding",
        measure=verdicts.enough(verdicts.measure_tv),
        judge=verdicts.judge_tv,
    ),
    Claim(
        id="C4",
        statement="The tau-optimal policies converge: their limit is the optimal policy of least "
        "discounted KL to the reference.",
        place="Theorem 2.5",
        paper_value="convergence",
        measured_as="TV between pi^{tau,*} and the closed form of the limit; the KL cost of the "
        "latter against -W and against 16 random optimal policies for each MDP",
        rule="reproduced if TV at tau = 1e-12 and both errors are at most 1e-9 and no optimal "
        "policy is cheaper by more than 1e-9",
        measure=verdicts.enough(verdicts.measure_standard),
        judge=verdicts.judge_standard,
    ),
    Claim(
        id="C5",
        statement="Decoupled policies converge to the reference restricted to optimal actions "
        "as sigma/tau -> 0.",
        place="Theorem 3.9",
        paper_value="convergence",
        measured_as="TV at eight temperatures for sigma = tau^1.5, tau^2, tau^3; the bound of the "
        "proof; exponents of the worst TV between tau = 1e-3 and 1e-6; the control sigma = tau/2",
        rule="reproduced if at tau = 1e-12 (sigma = tau^2) TV is at most 1e-9, the bound holds, "
        "exponents are within 0.02 of k - 1, and the control goes to its own limit instead; partly "
        "if only TV and bound",
        measure=verdicts.enough(verdicts.measure_decoupled),
        judge=verdicts.judge_decoupled,
    ),
    Claim(
        id="C6",
        statement="The two limits differ: on the tri-state MDP annealing all but commits to one of "
        "two optimal actions at x0, decoupling plays them evenly; elsewhere they agree.",
        place="section 3.1, figure 3.1; appendix D",
        paper_value="by figure only; the text speaks of a point mass",
        measured_as="exact policies on M1 (a stand-in for the figure's MDP) at tau = 1e-12; soft "
        "Q-learning at the coldest temperature, largest TV to the exact policy, mean over seeds",
        rule="reproduced if standard >= 0.99, |decoupled - 1/2| <= 1e-6, agreement to 1e-9 "
        "elsewhere, and learned policies within 0.02; partly if only the exact ones",
        measure=verdicts.enough(verdicts.measure_two_limits),
        judge=verdicts.judge_two_limits,
    ),
    Claim(
        id="C7",
        statement="The values and return laws of decoupled policies converge to those of the "
        "filtered reference.",
        place="Theorem 3.10",
        paper_value="convergence in W_p",
        measured_as="sup-W_1 and sup-W_2 between return laws on a grid (cramer projection, under "
        "which W_1 never grows) for tau = 0.1 to 1e-8; largest q*_ref - q^pi; and sup-W_1 over "
        "gamma/(1-gamma) TV D, D the largest W_1 between two actions' laws",
        rule="reproduced if at tau = 1e-8 sup-W_1 is at most 1e-6 and sup-W_2 1e-3, at tau = 1e-12 "
        "no value is lower by more than 1e-9, and the bound holds; partly without the last",
        measure=verdicts.enough(verdicts.measure_laws),
        judge=verdicts.judge_laws,
    ),
    Claim(
        id="C8",
        statement="The soft distributional operator T^pi_tau contracts sup-W_p by gamma.",
        place="Theorem 4.2",
        paper_value="ratio at most gamma",
        measured_as="sup-W_p of the images over that of the arguments, over gamma: random laws and "
        "policies, without a projection, p = 1, 2, tau = 0, 0.3",
        rule="reproduced if no ratio exceeds 1 by more than 1e-12",
        measure=verdicts.enough(verdicts.measure_contraction),
        judge=verdicts.all_below((1 + verdicts.ROUNDING,)),
    ),
    Claim(
        id="C9",
        statement="Means commute with the soft optimality operator: Q T*_tau = B*_tau Q.",
        place="Lemma 4.4",
        paper_value="equality",
        measured_as="largest difference of both sides on random laws, without a projection",
        rule="reproduced if it is at most 1e-12 of the largest |q|",
        measure=verdicts.enough(verdicts.measure_means),
        judge=verdicts.all_below((verdicts.ROUNDING,)),
    ),
    Claim(
        id="C10",
        statement="Iterates of T*_tau converge, with W_1 error of order n gamma^n and W_p error of "
        "order gamma^(n/p); iterates of T* need not.",
        place="Theorem 4.5, figure 4.1",
        paper_value="convergence; by figure only",
        measured_as="40 iterates at tau = 0.3 from point masses at 0: sup-W_1 error over the bound "
        "of the proof with its constants, error of the means over gamma^n, largest W_1/(n gamma^n) "
        "and W_2/gamma^(n/2) after 12 iterates over those before; W_1 between consecutive iterates "
        "of T* and T*_tau at x0 of M4",
        rule="reproduced if no ratio exceeds 1, T* still moves by at least 0.5 on M4 and T*_tau by "
        "at most 1e-6; partly if only convergence",
        measure=verdicts.enough(verdicts.measure_iterates),
        judge=verdicts.judge_iterates,
    ),
    Claim(
        id="C11",
        statement="Control at sigma = tau^2, then evaluation at tau, estimates the return law of "
        "the filtered reference to any accuracy.",
        place="Theorem 4.7",
        paper_value="convergence",
        measured_as="sup-W_1 between the algorithm's output and the law of pi^{ref,*}: on the same "
        "grid for random MDPs, enumerated for M2; and the error of estimates that were asked for "
        "given accuracies",
        rule="reproduced if sup-W_1 is at most 1e-6 at tau = 1e-8, 1e-4 at x0 of M2 at the coldest "
        "of the paper's temperatures, and no estimate misses its accuracy; partly without the last",
        measure=verdicts.enough(verdicts.measure_estimate),
        judge=verdicts.judge_estimate,
    ),
    Claim(
        id="C12",
        statement="Without decoupling the estimate tends to another optimal return law, and in "
        "32-bit arithmetic it depends on the precision; with decoupling it hardly does.",
        place="figures 4.3 and 4.4",
        paper_value="by figure only",
        measured_as="estimates for x0 of M2 (a stand-in for the figure's MDP) at the paper's "
        "temperatures, in float64 and float32, W_1 to both limits and between precisions",
        rule="reproduced if, for every projection, standard tends to the ERL law (at most 1e-3) "
        "away from the reference's (at least 0.05), decoupled to the latter in both precisions "
        "(at most 1e-3), standard changes with precision by at least 0.05 and decoupled by at most "
        "a tenth of that; partly if only the limits",
        measure=verdicts.measure_precision,
        judge=verdicts.judge_precision,
    ),
    Claim(
        id="C13",
        statement="(Theorem 2.3) G_tau q*_tau is the one tau-optimal policy, from every start.",
        place="Theorem 2.3",
        paper_value="uniqueness",
        measured_as="its soft value against V_tau q*_tau; the shortfall of 8 random policies for "
        "each MDP against the discounted tau KL to it along them, which is positive",
        rule="reproduced if both agree to 1e-9 and every shortfall is positive; partly if only the "
        "former",
        measure=verdicts.enough(verdicts.measure_unique),
        judge=verdicts.judge_unique,
    ),
    Claim(
        id="C14",
        statement="(Theorem 4.6, its part on values) pi^{tau,*} is eps-reference-optimal as soon "
        "as tau <= eps (1-gamma) / (2 gamma log(1/p_ref)).",
        place="Theorem 4.6",
        paper_value="loss at most eps",
        measured_as="max(q*_ref - q^pi) / eps at that temperature, eps = 1, 0.1, 0.01",
        rule="reproduced if no ratio exceeds 1",
        measure=verdicts.enough(verdicts.measure_near),
        judge=verdicts.all_below((1.0,)),
    ),
    Claim(
        id="C15",
        statement="(Lemma 3.1, Theorem 3.2) q*_ref <= q*, with equality where the reference has "
        "full support; elsewhere the limits stay inside the support.",
        place="Lemma 3.1, Theorem 3.2, Definition 3.3",
        paper_value="inequality; equality under full support",
        measured_as="q*_ref against the known q*, with the reference as it is and without the "
        "optimal actions of one state; mass of the filtered reference outside the support",
        rule="reproduced if with full support both agree, without it q*_ref is nowhere above, "
        "somewhere below by 0.01, and no mass is outside (all to 1e-9)",
        measure=verdicts.enough(verdicts.measure_narrow),
        judge=verdicts.judge_narrow,
    ),
)
