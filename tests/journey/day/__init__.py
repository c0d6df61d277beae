"""A day without cloud: a full outbox is drained while the line goes on, and live lines stay live.

    python -m tests.journey.day --hours 24 --json

1. `outage.py`: 500 signals at 20 Hz, windows of 1 s, source times of a past day that ends now, as
   fast as they go, into an outbox whose far side does not answer.
2. `drain.py`: the same outbox in a running agent, the line at its real pace, and a far side that
   answers (`far_side.py`, a process of its own) and marks each window that arrives.
"""
