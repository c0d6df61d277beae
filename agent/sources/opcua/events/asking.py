"""What a server is asked for: one monitored item a table (OPC 10000-4, 7.21, 7.22.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asyncua import ua

from agent.config.opcua import OpcuaEventsConfig
from agent.sources.opcua.events.event import SEVERITY, select

QUEUE_SIZE: Final = 1000
"""Events that the server keeps between two publications."""


def filters(config: OpcuaEventsConfig) -> Iterator[tuple[ua.EventFilter, bool]]:
    """What to ask for, and less; each with whether conditions are in it.

    A condition that ends may be less severe than as it began: of conditions all are asked for.
    """
    where = ua.ContentFilter()
    if config.severity_min > 1 and not config.alarms:
        where.Elements.append(
            ua.ContentFilterElement(
                FilterOperator=ua.FilterOperator.GreaterThanOrEqual,
                FilterOperands=[
                    select(conditions=False)[SEVERITY],
                    ua.LiteralOperand(ua.Variant(config.severity_min, ua.VariantType.UInt16)),
                ],
            )
        )
    yield ua.EventFilter(select(conditions=config.alarms), where), config.alarms
    yield ua.EventFilter(select(conditions=False), ua.ContentFilter()), False


def item(node: ua.NodeId, handle: int, wanted: ua.EventFilter) -> ua.MonitoredItemCreateRequest:
    """The request for one table."""
    asked = ua.MonitoredItemCreateRequest()
    asked.ItemToMonitor.NodeId = node
    asked.ItemToMonitor.AttributeId = ua.AttributeIds.EventNotifier
    asked.MonitoringMode = ua.MonitoringMode.Reporting
    asked.RequestedParameters.ClientHandle = handle
    asked.RequestedParameters.SamplingInterval = 0
    asked.RequestedParameters.QueueSize = QUEUE_SIZE
    asked.RequestedParameters.DiscardOldest = True
    asked.RequestedParameters.Filter = wanted
    return asked
