"""How much a forwarder sends at once, how fast, and how patiently."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one forwarder.

    lines_max : lines a packet
    lines_min : packets are not made smaller than this for lack of an answer
    backlog_lines_per_s : how fast what has waited is sent
    backlog_share_s : the backlog gets a packet this often although live lines wait
    bisect_s : after so long with one packet's wrong lines, live lines have their turn again
    rejected_run_max : so many lines are rejected in a row before the far side has to prove itself
    probes_max : lines of a packet that are tried one by one where it never took a line
    retry_first_s, retry_max_s : the pause after the first failure, and the longest
    retry_after_max_s : a longer Retry-After is not believed
    """

    lines_max: int = 5000
    lines_min: int = 100
    backlog_lines_per_s: int = 20_000
    backlog_share_s: float = 1.0
    bisect_s: float = 1.0
    rejected_run_max: int = 200
    probes_max: int = 20
    retry_first_s: float = 0.5
    retry_max_s: float = 30.0
    retry_after_max_s: float = 600.0
