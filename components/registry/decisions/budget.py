"""The error budget of a registered model: the chance that any promotion over its whole life was noise.

Each hypothesis ("this candidate is not better than this champion") gets a share of the budget, and each look at it a
part of that share. All parts together are at most the budget, however many hypotheses and looks there will be. By
Boole's inequality, so is the chance that any of the tests is wrong: on fixed, growing and fresh test splits alike,
because the inequality holds under any dependence between tests.
"""

_DECAY = 1.2
# The sum of n ** -1.2 over all n from 1: Riemann's zeta function at 1.2.
_SUM = 5.591582441177753


def share(budget: float, hypothesis: int, spent: float = 0.0) -> float:
    """Returns the share of a hypothesis.

    The shares fall as slowly as a convergent sum allows in practice: with an exponent of 1.2, the level after a year
    of nights is the highest. Exponents from 1.1 to 1.3 differ little.

    A budget that is changed later is that of all hypotheses, too: what was spent stays spent. If it is lowered, what it
    leaves is shared out over the hypotheses from now on, in the same proportions; nothing if more was spent already. If
    it is raised, a share is that of a budget that was always as high, and what was saved before is not made up for.

    Args:
        budget: The chance of any false promotion.
        hypothesis: The number of the hypothesis in the life of the registered model, from 1.
        spent: The shares of all hypotheses before.
    """
    from scipy.special import zeta

    always = budget * hypothesis**-_DECAY / _SUM
    left = max(budget - spent, 0.0) * hypothesis**-_DECAY / float(zeta(_DECAY, hypothesis))
    return min(always, left)


def level(share: float, look: int) -> float:
    """Returns the level of a look at a hypothesis, by the number of the look, from 1.

    The looks get 1/4, 1/4, 3/16, 1/8, … of a share: late in life, a first look finds little at any level, and the
    second to fourth do.
    """
    return share * look * 0.5 ** (look + 1)


def share_of(level: float, look: int) -> float:
    """Returns the share of the hypothesis that a look had that level of."""
    return level / (look * 0.5 ** (look + 1))
