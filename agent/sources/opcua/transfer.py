"""Taking subscriptions over from a session that was lost (OPC 10000-4, 5.14.6 and 5.14.7).

Enters: a new session, and the streams of the old one. Leaves: the messages that did not come, and
whether these are all. Fails: OSError where this session is lost as well.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from asyncua import ua

from agent.sources.opcua.publishing import Gap, Publisher, Stream, following, split_at
from agent.sources.opcua.session import Session
from agent.sources.opcua.wire import Publication

log = logging.getLogger("andon.opcua")


async def take_over(session: Session, streams: Sequence[Stream]) -> dict[int, list[int]] | None:
    """The messages that the server still has, by subscription; None where it has not all of these.

    Then it has none of them any more.
    """
    parameters = ua.TransferSubscriptionsParameters()
    parameters.SubscriptionIds = [stream.number for stream in streams]
    parameters.SendInitialValues = False
    services = session.client.uaclient.session
    try:
        results = await services.transfer_subscriptions(parameters)
    except (TimeoutError, ua.UaError) as error:
        log.debug("subscriptions are not transferred: %r", error)
        return None
    taken = [s for s, r in zip(streams, results, strict=False) if r.StatusCode.is_good()]
    if len(taken) < len(streams):
        await let_go(session, taken)
        return None
    return {
        stream.number: list(result.AvailableSequenceNumbers or ())
        for stream, result in zip(streams, results, strict=True)
    }


async def catch_up(
    publisher: Publisher, stream: Stream, available: Sequence[int]
) -> tuple[list[Publication], bool]:
    """The messages of a transferred subscription that did not come, and whether these are all.

    Up to the first one that is gone: what came behind it is not known to be whole.
    """
    if stream.expected is None:
        return [], not available
    wanted, known = split_at(stream.expected, available)
    for number in known:
        publisher.acknowledge(stream.number, number)
    found: list[Publication] = []
    for one in await publisher.again(Gap(stream, tuple(wanted))):
        if one.sequence != stream.expected:
            break
        found.append(one)
        stream.expected = following(one.sequence)
    return found, len(found) == len(wanted)


async def let_go(session: Session, streams: Sequence[Stream]) -> None:
    """Delete these as well as can be; the server lets go of them itself in time."""
    if not streams:
        return
    services = session.client.uaclient.session
    with suppress(OSError, TimeoutError, ua.UaError):
        await services.delete_subscriptions([stream.number for stream in streams])
