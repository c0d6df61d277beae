"""An outbox in words: for a person at a gateway who wants to know whether to worry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_CAUSES: Final = {
    "quota": "there was no room",
    "age": "they waited longer than age_max_days",
    "overload": "more came than the disk could take",
    "exported": "carried out with `andon outbox export --take`",
    "damaged": "they could not be read back from the disk",
}

NAMED_MAX: Final = 5
"""Sources named in one row; more are counted."""

Row = tuple[str, str]


def tell(document: Mapping[str, Any]) -> Iterator[str]:
    """The outbox, a line each; `look` gives the document."""
    service = document["service"]
    rows = [*_held(document), *_pace(document)]
    if service is not None:
        rows += _disk(service)
    rows += _sinks(document["sinks"], {} if service is None else service["sinks"])
    for cause, count in sorted(document["dropped"].items()):
        if count:
            rows.append(("dropped", f"{lines(count)}: {_CAUSES.get(cause, cause)}"))
    yield f"outbox {document['file']}"
    width = max(len(title) for title, _ in rows)
    for title, text in rows:
        yield f"  {title:<{width}}  {text}"
    if service is None:
        ago = f"; the last one wrote {span(document['wrote_s'])} ago, and rates are of then"
        yield f"no service runs here{ago}"
    if count := document["dead_letters"]:
        yield f"{_were(count, 'rejected by a far side')}: see `andon outbox dead`"


def letter(row: Mapping[str, Any]) -> str:
    """One dead letter, as `dead_letters` gives it."""
    head = f"line {row['line_id']:,} to {row['sink']}, {row['cause'].replace('_', ' ')}"
    return f"{head}\n  {_printable(row['reason'])}\n  {_printable(row['line'])}"


def exported(file: str, count: int, size_bytes: int) -> str:
    """What an export has written."""
    if not count:
        return f"nothing waits to be sent; {file} holds no lines"
    return f"{lines(count)}, {size(size_bytes)}, {'is' if count == 1 else 'are'} in {file}"


def sent(done: Mapping[str, Any]) -> Iterator[str]:
    """What an import has sent."""
    yield _were(done["acknowledged"], f"sent to {done['sink']}")
    if count := done["withheld"]:
        yield f"{lines(count)} of them it cannot hold; they were left out"
    if count := done["dead_letter"]:
        see = f"see `andon outbox dead --file {done['file']}`"
        yield f"{_were(count, 'rejected')}: {see}"
    if count := done["damaged"]:
        yield f"{_were(count, 'damaged on the way')} and cannot be sent"
    if count := done["waiting"]:
        yield f"{lines(count)} still {'waits' if count == 1 else 'wait'} in {done['file']}"


def lines(count: int) -> str:
    """So many lines."""
    return "1 line" if count == 1 else f"{count:,} lines" if count else "no lines"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} B" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.2f} GB"


def span(seconds: float) -> str:
    """A time span in its two largest units."""
    if seconds < 1:
        return "less than a second"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    whole = round(seconds)
    parts: list[str] = []
    for name, length in units:
        count, whole = divmod(whole, length)
        if count or parts:
            parts.append(f"{count:,} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def _held(document: Mapping[str, Any]) -> Iterator[Row]:
    waiting, oldest_s = document["lines_waiting"], document["oldest_s"]
    yield "holds", f"{size(document['bytes'])} of at most {size(document['bytes_max'])}"
    oldest = "" if oldest_s is None else f", the oldest for {span(oldest_s)}"
    yield "waiting", f"{lines(waiting)}{oldest}" if waiting else "nothing"


def _pace(document: Mapping[str, Any]) -> Iterator[Row]:
    comes, hours, drain_s = (document[key] for key in ("bytes_in_per_s", "hours_left", "drain_s"))
    yield "comes in", f"{document['lines_in_per_s']:,.1f} lines/s"
    yield "goes out", f"{document['lines_out_per_s']:,.1f} lines/s"
    if hours is None:
        yield "room", "for more than 10 years at this rate" if comes else "all of it: nothing comes"
    elif hours:
        yield "room", f"for {span(3600 * hours)} at this rate, were nothing sent any more"
    else:
        yield "room", "none: what is worth least is dropped"
    if document["lines_waiting"]:
        once = "" if document["service"] else ", once a service runs"
        at_all = "not at this rate: no more goes out than comes in"
        yield "drains", at_all if drain_s is None else f"in {span(drain_s)}{once}"


def _disk(service: Mapping[str, Any]) -> Iterator[Row]:
    if service["gb_per_day"] is not None:
        allowed = f"{service['gb_per_day']:.2f} of {service['gb_per_day_max']:.2f} GB a day"
        yield "disk", f"writes {allowed}, a commit every {service['commit_interval_s']:.2g} s"
    sources = service["sources"]
    lossy = [name for name, source in sources.items() if not source["journaled"]]
    if lossy:
        yield "journal", f"without {_named(lossy)}: a crash loses the windows that are open there"
    elif sources:
        yield "journal", "holds all sources: a crash loses no window"
    for name, source in sources.items():
        if count := source["held_back"]:
            yield name, f"held back {_times(count)}: more came than could be taken"
        if count := source["redelivered"]:
            yield name, f"{_packets(count)} came twice and counted once"


def _sinks(sinks: Mapping[str, Mapping[str, int]], states: Mapping[str, str]) -> Iterator[Row]:
    for name, sink in sinks.items():
        said = [f"{sink['waiting']:,} waiting, {sink['acknowledged']:,} sent"]
        if count := sink["withheld"]:
            said.append(f"{count:,} of them left out: it cannot hold them")
        if count := sink["dead_letter"]:
            said.append(f"{count:,} rejected")
        yield name, ", ".join(said)
        if name in states:
            yield "", states[name]


def _were(count: int, done: str) -> str:
    return f"{lines(count)} {'was' if count == 1 else 'were'} {done}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _packets(count: int) -> str:
    return "1 packet" if count == 1 else f"{count:,} packets"


def _named(names: Sequence[str]) -> str:
    rest = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {rest:,} more" if rest > 0 else "")


def _printable(text: str) -> str:
    """What a machine or a far side wrote, without what would move a terminal's cursor."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
