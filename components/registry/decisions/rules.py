"""How decisions of an older format were made, where that differs: `verify` repeats each by the rules of its line.

A change of how decisions are made gets a new format (`record.FORMAT`), and an entry here of what it changed.
"""

from dataclasses import dataclass

from components.registry.decisions.record import FORMAT


@dataclass(frozen=True)
class Rules:
    """The rules of a format.

    Attributes:
        refused_may_challenge: Whether a version that won and broke a guard may be the challenger.
        gain_by_share: Whether the gain of a winner is corrected by the share of the budget alone, also where
            `registry.confidence` demanded a smaller p-value.
    """

    refused_may_challenge: bool
    gain_by_share: bool


RULES = {
    1: Rules(refused_may_challenge=True, gain_by_share=True),
    2: Rules(refused_may_challenge=False, gain_by_share=False),
}
CURRENT = RULES[FORMAT]
