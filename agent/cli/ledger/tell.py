"""The ledger as a table, and what the cloud holds as sentences, that anyone can check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agent.cli.ledger.compare import Proof
from agent.outbox.intervals import Interval, count

NAMED_MAX: Final = 20
"""Holes named one by one; of more, the rest is counted."""

_NAME, _COUNT = 34, 16


def tell(document: Mapping[str, Any], proofs: Sequence[Proof] = ()) -> Iterator[str]:
    """The whole ledger, a line each."""
    yield from _samples(document["samples"])
    yield ""
    yield from _lines(document["lines"])
    if document["sinks"]:
        yield ""
        yield from _sinks(document["sinks"])
    yield ""
    balanced = document["balanced"] and all(proof.balanced for proof in proofs)
    verdict = "balanced." if balanced else "NOT BALANCED."
    told = [line for proof in proofs for line in _cloud(proof, alone=len(proofs) == 1)]
    if not told:
        yield verdict
        return
    yield f"{verdict}  {told[0]}"
    yield from told[1:]


_OF: Final = {"outage": " (signals)", "history": " (signals)", "message": " (messages)"}
"""What is counted of what was missed, where it is not samples."""


def _samples(samples: Mapping[str, Any]) -> Iterator[str]:
    yield _head("since the outbox was made", "samples")
    yield _row("received", samples["received"])
    yield _row("into windows and lines", samples["derived"], 1)
    yield from _by_cause("filtered", samples["filtered"])
    yield from _by_cause("dropped", samples["dropped"])
    yield _row("pending", samples["pending"], 1)
    for name in ("retimed", "recovered"):  # they are among the above
        for cause, number in sorted(samples[name].items()):
            yield _row(f"{name}: {_plain(cause)}", number)
    for cause, number in sorted(samples["missed"].items()):  # and these never came
        yield _row(f"missed: {_plain(cause)}{_OF.get(cause, '')}", number)


def _lines(lines: Mapping[str, Any]) -> Iterator[str]:
    yield _head("", "lines")
    yield _row("made", lines["made"])
    for name in ("acknowledged", "waiting", "replaced"):
        yield _row(name, lines[name], 1)
    yield from _by_cause("dropped", lines["dropped"])
    yield from _by_cause("dead letters", lines["dead_letter"])


def _sinks(sinks: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    names = ["acknowledged", "waiting", "dead_letter"]
    if any(sink["withheld"] for sink in sinks.values()):
        names.append("withheld")
    titles = ["dead letters" if name == "dead_letter" else name for name in names]
    yield f"{'':<{_NAME - 12}}" + "".join(f"{title:>{_COUNT - 2}}" for title in titles)
    for name, sink in sinks.items():
        cells = "".join(f"{sink[column]:>{_COUNT - 2},}" for column in names)
        yield f"{name:<{_NAME - 12}}{cells}"


def _cloud(proof: Proof, *, alone: bool) -> Iterator[str]:
    who = "The cloud" if alone else f"The cloud {proof.name!r}"
    if proof.skipped:
        yield f"{proof.name} ({proof.url}) is no Andon cloud: {proof.skipped}."
    elif proof.error is not None:
        yield f"{who} could not be asked."
    elif not proof.covered:
        yield f"{who} has received nothing of this outbox."
    else:
        held = _ranges(proof.covered)
        yield f"{who} holds {held} " + (
            f"with {_some(len(proof.holes), 'hole')}." if proof.holes else "without a hole."
        )
    yield from _named(proof.waiting, "waiting here")
    yield from _named(proof.untold, "void here, as the next lines will tell it")
    if proof.void_total:
        yield f"  {_some(proof.void_total, 'id')} will never come: replaced, dropped or rejected."
    if proof.in_flight and not proof.newer:
        yield f"  {_some(proof.in_flight, 'line')} more than were acknowledged here: in flight."
    if proof.holes_forgotten:
        yield (
            f"  It gave up remembering {_some(proof.holes_forgotten, 'hole')}: what was sent there "
            "is not proved."
        )
    if proof.lost:
        yield f"  LOSS: {_some(count(proof.lost), 'line')} that it acknowledged and does not hold:"
        yield from _named(proof.lost, "lost")
    if proof.newer:
        yield (
            f"  It holds {_some(proof.in_flight, 'line')} that this outbox has not made: the file "
            "is an older copy, and what it makes now carries numbers that were used."
        )


def _named(intervals: Sequence[Interval], what: str) -> Iterator[str]:
    for first, last in intervals[:NAMED_MAX]:
        yield f"  {_ids(first, last)}: {_some(last - first + 1, 'line')}, {what}"
    rest = intervals[NAMED_MAX:]
    if rest:
        yield f"  and {_some(count(rest), 'line')} in {len(rest):,} more intervals, {what}"


def _ranges(intervals: Sequence[Interval]) -> str:
    if len(intervals) > 2:
        intervals = [intervals[0], intervals[-1]]
        return " ... ".join(_ids(first, last) for first, last in intervals)
    return " and ".join(_ids(first, last) for first, last in intervals)


def _ids(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}-{last:,}"


def _some(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _by_cause(name: str, counts: Mapping[str, int]) -> Iterator[str]:
    for cause, number in sorted(counts.items()):
        yield _row(f"{name}: {_plain(cause)}", number, 1)
    if not counts:
        yield _row(name, 0, 1)


def _plain(cause: str) -> str:
    return cause.replace("_", " ")


def _head(name: str, title: str) -> str:
    return f"{name:<{_NAME}}{title:>{_COUNT}}"


def _row(name: str, number: int, depth: int = 0) -> str:
    return _head("  " * depth + name, f"{number:,}")
