"""The nearest allowed word to a misspelt one, for `did you mean …?`.

Only typing errors are corrected. `v5` is near both v5e and v5p, `h100` resembles a100, and `cuda` cpu: a wrong
suggestion would be worse than the list of allowed words.
"""

import re
from collections.abc import Iterable

_SYNONYMS = {
    "cuda": "gpu",
    "rocm": "gpu",
    "nvidia": "gpu",
    "fp32": "float32",
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "tf": "tensorflow",
    "pytorch": "torch",
}
"""Names of other programs for the same thing."""


def near(word: str, allowed: Iterable[str]) -> str | None:
    """Returns the allowed word that `word` is a slip of, or another name for; None where none is, or several are.

    A slip is a few letters that are missing, too many, wrong or swapped. Digits are none: `float64` is not `float16`.
    """
    words = list(dict.fromkeys(allowed))
    if (synonym := _SYNONYMS.get(word.lower())) in words:
        return synonym
    slips = {candidate: _slip(word.lower(), candidate.lower()) for candidate in words}
    found = [candidate for candidate, letters in slips.items() if letters == min(slips.values())]
    if len(found) == 1 and slips[found[0]] < _FAR:
        return found[0]
    begun = [candidate for candidate in words if len(word) >= 3 and candidate.lower().startswith(word.lower())]
    return begun[0] if len(begun) == 1 else None


_FAR = 1000


def _slip(word: str, meant: str) -> int:
    """Returns how many letters differ, or _FAR where they are too many for a slip."""
    most = max(1, (min(len(word), len(meant)) + 1) // 4)
    if len(word) > 100 or abs(len(word) - len(meant)) > most or re.findall(r"\d+", word) != re.findall(r"\d+", meant):
        return _FAR
    if len(word) == len(meant) and any(map(str.isdigit, word)) and sorted(word) != sorted(meant):
        return _FAR  # one letter for another, in a name with a number: another thing
    letters = _distance(word, meant)
    return letters if letters <= most else _FAR


def _distance(one: str, other: str) -> int:
    """Returns the optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours."""
    above: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        before, above, row = above, row, [i + 1]
        for j, wanted in enumerate(other):
            cost = min(above[j + 1] + 1, row[j] + 1, above[j] + (letter != wanted))
            if i and j and letter == other[j - 1] and one[i - 1] == wanted:
                cost = min(cost, before[j - 1] + 1)
            row.append(cost)
    return row[-1]
