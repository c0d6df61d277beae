"""Sparkplug B (3.0) as both sides speak it: topics, data types, payloads and their bytes.

What comes from the wire is read by `agent/kernels/sparkplug`, not here; this writes.
"""

from agent.sparkplug.datatypes import DataType
from agent.sparkplug.encoding import encode, varint
from agent.sparkplug.payload import (
    DataSet,
    Metric,
    Parameter,
    Payload,
    Property,
    PropertySet,
    Template,
    Value,
)
from agent.sparkplug.topics import MESSAGES, NAMESPACE, Topic, state_topic

BDSEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
QUALITY = "Quality"
ENGINEERING_UNIT = "engUnit"
"""Names of metrics and of properties that the specification, or custom, gives a meaning."""

__all__ = [
    "BDSEQ", "ENGINEERING_UNIT", "MESSAGES", "NAMESPACE", "QUALITY", "REBIRTH",
    "DataSet", "DataType", "Metric", "Parameter", "Payload", "Property", "PropertySet", "Template",
    "Topic", "Value", "encode", "state_topic", "varint",
]  # fmt: skip
