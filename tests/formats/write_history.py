"""Writes a history of promotions with the code that is imported: `python -m tests.formats.write_history FOLDER`.

Done once for each format of the lines; what is there is never written anew. `test_older_histories.py` verifies it by the
rules of its format.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from components.config import Guard
from components.registry.decisions import judge, standing
from components.registry.decisions.history import packed
from components.registry.decisions.record import Event, Rule, digest
from components.registry.decisions.tables import Table, slice_column

EXAMPLES = 120
BEGAN = datetime(2026, 11, 1, 2, tzinfo=UTC)
RULE = Rule(
    metric="log_likelihood",
    better="higher",
    unit="nats",
    confidence=0.9999,
    error_budget=0.05,
    guard=(Guard(feature="label", tolerance=0.5),),
)
# Of each newcomer: its gain, and its loss on the guarded class.
NEWCOMERS = {
    2: (3.0, 5.0),  # wins, and is refused by the guard
    3: (0.4, 0.0),
    4: (1.5, 0.0),  # wins
    5: (1.9, 0.0),  # may become the challenger, which wins later
    6: (1.0, 0.0),
    7: (1.0, 0.0),
    8: (1.0, 0.0),
    9: (3.0, 0.0),
    10: (1.9, 0.0),
    **dict.fromkeys(range(11, 17), (2.9, 0.0)),
}
FRESH = {2, 3, 4, 5, 6, 7, 8}
"""The nights whose test split has new examples only; the others have those of the night before."""


def main(to: Path) -> None:
    """Writes `promotions.jsonl` and `decisions/`."""
    rng, events, tables = np.random.default_rng(1), list[Event](), dict[int, Table]()
    first = Event(number=1, kind="decision", at=BEGAN, code="0" * 40, version=1, before=None, champion=1, reason="first",
                  rule=RULE, previous=None)  # fmt: skip
    events.append(first)
    (to / "decisions").mkdir(parents=True)
    night = 0
    for version in NEWCOMERS:
        number, champion = version, events[-1].champion or 0
        night += version in FRESH
        keys = np.arange(EXAMPLES) + EXAMPLES * night
        classes = keys % 4

        def scores(of: int, classes: np.ndarray = classes) -> np.ndarray:
            noise = rng.normal(0, 0.7, EXAMPLES).round(3)
            gain, loss = NEWCOMERS.get(of, (0.0, 0.0))
            return noise - noise.mean().round(3) + gain - loss * (classes == 3)

        before = standing.standing(events, champion, RULE)
        slices = {slice_column("label"): classes}
        earlier = standing.compared_lately(events)
        whole = earlier is not None and judge.is_still(tables[earlier], keys)
        found = judge.decide(before, number, version, champion, keys, scores, tables.__getitem__, RULE, slices, whole)
        content, tables[number] = packed(found.table), found.table
        challenger, decisive = found.standing.challenger, found.refused
        won = next((test for test in found.tests if test.candidate.version == found.champion), None)
        event = Event(
            number=number,
            kind="decision",
            at=BEGAN + timedelta(days=version - 1),
            code="0" * 40,
            version=version,
            before=champion,
            champion=found.champion,
            challenger=None if challenger is None else challenger.version,
            reason=f"night {version}",
            rule=RULE,
            looks=tuple(judge.look_at(test, RULE) for test in found.tests),
            guarded=(decisive or won).guarded if decisive or won else (),
            veto="refused" if decisive else None,
            values=digest(content),
            previous=digest(events[-1].line),
        )
        (to / f"decisions/{number:06d}-{digest(content)[:12]}.npz").write_bytes(content)
        events.append(event)
        looked = [(look.candidate, look.look, round(look.p, 5), look.won) for look in event.looks]
        print(version, looked, "champion", event.champion, "challenger", event.challenger, "veto", event.veto)
    (to / "promotions.jsonl").write_text("".join(f"{event.line}\n" for event in events), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
