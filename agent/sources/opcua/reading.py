"""Reading: from decoded items to batches, and what stays known of each signal over connections.

Enters: publications of one session, and history that was read. Leaves: batches in the order things
came, which vouch for silence up to the oldest of the subscriptions' last publications, less an
allowance (`vouch.py`). Nothing fails here; what is not news is left out and counted.

The first notification of an item may carry the time of a change long ago. What it says is that the
value holds now; since when is known only where the subscription went on, where the history was read
to its end, or where time, value and status are those of the last sample before the outage. Then it
holds since the source last vouched. Else it is taken no earlier than one publishing and sampling
interval before its publication.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, SupportsInt

import numpy as np
import numpy.typing as npt
from asyncua import ua

from agent.batch import AHEAD_MAX_NS, BEHIND_MAX_NS, Batch, Float64, Int64, UInt32, Waveform
from agent.signals import Kind
from agent.sources.opcua.wire import Decoder, Items, Publication
from agent.sources.vouch import Vouch

MS_NS: Final = 1_000_000
SERVER_QUEUE: Final = "server_queue"
OUTAGE: Final = "outage"
HISTORY: Final = "history"
HELD: Final = "held"
REPEATED: Final = "repeated"
"""Cause of filtering: a notification of what the history had brought."""
STRANGER: Final = "unknown_item"
"""The same of an item that was never asked for."""

HANDLES_MAX: Final = 1_000_000
"""Handles of one reading; changes that would need more need a new connection."""
CLOCK_BACK_NS: Final = 1_000_000_000

_NEVER: Final = np.iinfo(np.int64).min
_GREW_MIN: Final = 64

_WRONG: Final = -1
"""What `vouched_ns` is of a clock that went back."""

Rows = npt.NDArray[np.intp]


class Known:
    """What is known of a source's signals, by their ids; it outlives connections.

    vouched_ns : until when the source vouched, by the server's clock; 0 before it ever did
    last_ns, value, status, texts : of the last sample of each signal
    said_ns : its time as the server said it, which may be long before it was first told
    told_ns : when it was told that a signal is not delivered; what comes then is later
    is_restarted : all was forgotten since the source last vouched, but for when that was
    inexact : integers beyond 2^53, which may have been rounded
    fallbacks : values that the kernels left to asyncua's decoder
    renewable_s : when all values may be asked for anew again, on the monotonic clock
    without_history : nodes of which the server keeps none
    missed, recovered, rejected : counts of the ledger, by cause
    """

    def __init__(self) -> None:
        self.vouched_ns = 0
        self.is_restarted = False
        self.inexact = self.fallbacks = 0
        self.renewable_s = 0.0
        self.without_history: set[ua.NodeId] = set()
        self.missed: Counter[str] = Counter()
        self.recovered: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.last_ns: Int64 = np.empty(0, np.int64)
        self.said_ns: Int64 = np.empty(0, np.int64)
        self.told_ns: Int64 = np.empty(0, np.int64)
        self.value: Float64 = np.empty(0, np.float64)
        self.status: UInt32 = np.empty(0, np.uint32)
        self.texts: npt.NDArray[np.object_] = np.empty(0, np.object_)

    def grow(self, count: int) -> None:
        """Have room for ids below `count`."""
        more = count - len(self.last_ns)
        if more > 0:
            more = max(more, _GREW_MIN, len(self.last_ns))
            self.last_ns = np.append(self.last_ns, np.full(more, _NEVER, np.int64))
            self.said_ns = np.append(self.said_ns, np.full(more, _NEVER, np.int64))
            self.told_ns = np.append(self.told_ns, np.full(more, _NEVER, np.int64))
            self.value = np.append(self.value, np.full(more, np.nan))
            self.status = np.append(self.status, np.zeros(more, np.uint32))
            self.texts = np.append(self.texts, np.full(more, None, np.object_))

    def is_ahead_of(self, server_ns: int, received_ns: int) -> bool:
        """Whether the server's clock went back behind what was vouched for; 0: it does not say."""
        now_ns = _sound(server_ns, received_ns)
        return server_ns > 0 and self.vouched_ns > now_ns + CLOCK_BACK_NS

    def note(self, batch: Batch, said_ns: Int64) -> None:
        """These samples came; of several of one signal the last counts."""
        self.said_ns[batch.signal] = said_ns
        self.last_ns[batch.signal] = batch.time_ns
        self.value[batch.signal] = batch.value
        self.status[batch.signal] = batch.status

    def note_texts(self, batch: Batch, is_text: npt.NDArray[np.bool_]) -> None:
        """The texts among them."""
        rows = is_text & ~np.isnan(batch.value)
        texts = np.array(batch.texts, np.object_)
        self.texts[batch.signal[rows]] = texts[batch.value[rows].astype(np.int64)]


class Reading:
    """The items of the subscriptions of one line of sessions, by their client handles.

    ids : (h,) int32, the signal of each handle
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self.decoder = Decoder()
        self.ids = np.empty(0, np.int32)
        self._first = np.empty(0, np.bool_)
        self._text = np.empty(0, np.bool_)
        self._is_told = np.empty(0, np.bool_)
        """Whether what is missing of its outage has been counted."""
        self._since_ns: Int64 = np.empty(0, np.int64)
        """Since when the first notification of an item holds at the earliest, where it is known."""
        self._floor_ns: Int64 = np.empty(0, np.int64)
        """Until when its samples have been read from history."""
        self._has_floor = False
        self._outage_ns = 0
        """Since when what is told first was not known; 0 where there was no outage."""
        self._is_restarted = False
        self._outage_handles = HANDLES_MAX
        """Handles from this one on were given after the outage."""
        self._begun_ns = 0
        self._more: dict[int, bool] = {}
        self._rates: dict[int, float] = {}
        self._publishing_ns = self._sampling_ns = 0
        self._published: dict[int, int] = {}
        self._vouch = Vouch(0)

    def __len__(self) -> int:
        """How many handles were given."""
        return len(self.ids)

    def begin_outage(self, server_ns: int, received_ns: int) -> None:
        """What is told first is told after an outage, which ends now by the server's clock.

        Where that went back, nothing it said before can be set in relation to what it says now.
        """
        if self.known.is_ahead_of(server_ns, received_ns):
            self.known.vouched_ns = _WRONG
        self._outage_ns = self.known.vouched_ns
        self._is_restarted = self.known.is_restarted
        self._begun_ns = server_ns

    def end_outage(self) -> None:
        """What is told first by handles that are given from now on was not told before."""
        self._outage_handles = len(self)

    def add(self, ids: Sequence[int], kinds: Sequence[Kind], rates: Mapping[int, float]) -> range:
        """New client handles for signals; `rates` of the waveforms among them, in Hz, by id."""
        given = self.decoder.add(kinds)
        count = len(given)
        self.ids = np.append(self.ids, np.array(ids, np.int32))
        self._first = np.append(self._first, np.ones(count, np.bool_))
        self._text = np.append(self._text, np.array([kind == "text" for kind in kinds], np.bool_))
        self._is_told = np.append(self._is_told, np.zeros(count, np.bool_))
        self._since_ns = np.append(self._since_ns, np.full(count, _NEVER, np.int64))
        self._floor_ns = np.append(self._floor_ns, np.full(count, _NEVER, np.int64))
        self._rates.update(rates)
        self.known.grow(int(self.ids.max(initial=-1)) + 1)
        self.known.texts[self.ids[given.start :][~self._text[given.start :]]] = None
        return given

    def set_intervals(self, publishing_ms: float, sampling_ms: float) -> None:
        """The intervals that the server granted; of several, the longest."""
        self._publishing_ns = max(self._publishing_ns, int(publishing_ms * MS_NS))
        self._sampling_ns = max(self._sampling_ns, int(sampling_ms * MS_NS))
        self._vouch.allow(self._sampling_ns)

    def expect(self, subscription: int) -> None:
        """Vouch for nothing before this subscription has published."""
        self._published[subscription] = 0

    def batch(
        self, publications: Sequence[Publication], received_ns: int, *, is_early: bool = False
    ) -> Batch:
        """A batch of several publications, oldest first; an early one vouches for nothing.

        is_early : not all signals were subscribed when these were published
        """
        items = self.decoder.items(publications, received_ns)
        self.known.missed.update(_counts(SERVER_QUEUE, items.overflowed))
        self.known.rejected.update(_counts(STRANGER, items.strangers))
        self.known.inexact += items.inexact
        self.known.fallbacks += items.fallbacks
        published_ns = _sound(publications[0].published_ns, received_ns)
        for one in publications:
            self._published[one.subscription] = _sound(one.published_ns, received_ns)
            self._more[one.subscription] = one.more
        now_ns = min(self._published.values())
        times = self._times(items, published_ns)
        if now_ns:
            self._vouch.take(times, now_ns)
        alive_ns = 0
        if now_ns and not is_early and not any(self._more.values()):
            alive_ns = self.known.vouched_ns = self._vouch.until(now_ns)
            self.known.is_restarted = False
        return self._made(items, times, received_ns, alive_ns)

    def history(self, items: Items, received_ns: int) -> Batch:
        """A batch of what was read from history: it vouches for nothing."""
        self.known.recovered[HISTORY] += len(items.handle)
        batch = self._made(items, items.time_ns, received_ns, 0)
        np.maximum.at(self._floor_ns, items.handle, items.time_ns)
        self._has_floor = True
        return batch

    def texts(self, items: Items, received_ns: int) -> Batch:
        """A batch of what events told: it vouches for nothing."""
        self.known.missed.update(_counts(SERVER_QUEUE, items.overflowed))
        return self._made(items, items.time_ns, received_ns, 0)

    def filled(self, handles: Collection[int]) -> None:
        """The history of these was read to its end: what it did not tell did not happen."""
        rows = np.fromiter(handles, np.int64, len(handles))
        self._since_ns[rows] = np.maximum(self._floor_ns[rows], self._outage_ns)

    def broken(self, handles: Collection[int]) -> None:
        """The history of these is kept, and could not be read to its end."""
        self.known.missed.update(_counts(HISTORY, len(handles)))
        self._is_told[np.fromiter(handles, np.int64, len(handles))] = True

    def held(self, handles: Collection[int], received_ns: int) -> Batch | None:
        """What was known of these when the connection was lost, said again: it has held since.

        Of subscriptions that went on without loss; what has changed meanwhile is yet to come.
        """
        known = self.known
        told = np.fromiter(handles, np.int64, len(handles))
        ids = np.unique(self.ids[told[~self._first[told]]])
        if known.vouched_ns <= 0 or not len(ids):
            return None
        known.recovered[HELD] += len(ids)
        values = known.value[ids]
        texts: list[str] = []
        for row, number in enumerate(ids.tolist()):
            text = known.texts[number]
            if text is not None and not np.isnan(values[row]):
                values[row] = len(texts)
                texts.append(text)
        times = np.maximum(known.last_ns[ids] + 1, known.vouched_ns)
        return Batch(ids, times, values, known.status[ids], received_ns, 0, tuple(texts))

    def told(self, statuses: Mapping[int, int], received_ns: int) -> Batch:
        """That these signals are not delivered, by the server's own StatusCodes.

        What was known of them held until now; it is not taken for unchanged when they come back.
        """
        known, count = self.known, len(statuses)
        ids = np.fromiter(statuses, np.int32, count)
        known.grow(int(ids.max(initial=-1)) + 1)
        published_ns = max(self._published.values(), default=0)
        now_ns = _sound(max(published_ns, self._begun_ns), received_ns)
        times = np.maximum(known.last_ns[ids] + 1, now_ns)
        known.said_ns[ids] = known.told_ns[ids] = times
        return Batch(
            ids, times, np.full(count, np.nan),
            np.fromiter(statuses.values(), np.uint32, count), received_ns,
        )  # fmt: skip

    def _times(self, items: Items, published_ns: int) -> Int64:
        """The samples' times; the first of an item is moved up to where it is known to hold."""
        first = self._first[items.handle]
        if not first.any():
            return items.time_ns
        handles, rows = np.unique(items.handle[first], return_index=True)
        rows = np.flatnonzero(first)[rows]
        self._first[handles] = False
        times = items.time_ns.copy()
        known, ids = self.known, self.ids[handles]
        same = self._is_same(items, handles, rows)
        since_ns = self._since_ns[handles]
        unknown = since_ns == _NEVER
        if self._outage_ns:
            of_outage = handles < self._outage_handles
            was_read = self._is_restarted | (known.last_ns[ids] != _NEVER)
            is_old = (known.said_ns[ids] == _NEVER) & (times[rows] <= self._outage_ns)
            unknown &= ~(of_outage & (same | is_old))
            since_ns[since_ns == _NEVER] = self._outage_ns
            missed = of_outage & unknown & was_read & ~self._is_told[handles]
            known.missed.update(_counts(OUTAGE, missed.sum()))
        shown_ns = published_ns - self._publishing_ns - self._sampling_ns
        since_ns[unknown] = max(shown_ns, self._vouch.vouched_ns)
        again = same & (known.last_ns[ids] != self._floor_ns[handles])  # else the history told it
        since_ns[again] = np.maximum(since_ns[again], known.last_ns[ids[again]] + 1)
        since_ns = np.maximum(since_ns, known.told_ns[ids] + 1)
        times[rows] = np.maximum(times[rows], since_ns)
        return times

    def _is_same(self, items: Items, handles: Rows, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of these first notifications are the very last samples that were told.

        None where the clock went back.
        """
        known, ids, values = self.known, self.ids[handles], items.value[rows]
        same_value = (values == known.value[ids]) | np.isnan(values) | self._text[handles]
        same_status = items.status[rows] == known.status[ids]
        same: npt.NDArray[np.bool_] = (
            (items.time_ns[rows] == known.said_ns[ids]) & same_status & same_value
        )
        same &= self._outage_ns != _WRONG
        return same

    def _made(self, items: Items, times: Int64, received_ns: int, alive_ns: int) -> Batch:
        handles = items.handle
        ids = self.ids[handles]
        waveforms = tuple(
            Waveform(row, self._rates[int(ids[row])], values) for row, values in items.waveforms
        )
        batch = Batch(
            ids, times, items.value, items.status, received_ns, alive_ns, items.texts, waveforms
        )
        said_ns = items.time_ns
        if self._has_floor and len(batch):
            fresh = times > self._floor_ns[handles]
            if not fresh.all():
                self.known.rejected.update(_counts(REPEATED, (~fresh).sum()))
                batch, handles, said_ns = batch.where(fresh), handles[fresh], said_ns[fresh]
        self.known.note(batch, said_ns)
        if batch.texts:
            self.known.note_texts(batch, self._text[handles])
        return batch


def _counts(cause: str, count: SupportsInt) -> dict[str, int]:
    """To be added to a counter; nothing where there is nothing."""
    return {cause: int(count)} if count else {}


def _sound(published_ns: int, received_ns: int) -> int:
    """A time of publication that can be; else that of its arrival."""
    earliest_ns, latest_ns = received_ns - BEHIND_MAX_NS, received_ns + AHEAD_MAX_NS
    return published_ns if earliest_ns <= published_ns <= latest_ns else received_ns
