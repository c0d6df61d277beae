"""The tables `[[opcua.events]]`: events, alarms and conditions of a server, as text signals."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from agent.config.fields import Name, NodeId, SignalName, Table, broken

PackmlState = Literal[
    "Clearing",
    "Stopped",
    "Starting",
    "Idle",
    "Suspended",
    "Execute",
    "Stopping",
    "Aborting",
    "Aborted",
    "Holding",
    "Held",
    "Unholding",
    "Suspending",
    "Unsuspending",
    "Resetting",
    "Completing",
    "Complete",
]
"""States of a machine (ISA-TR88.00.02)."""


class OpcuaEventsConfig(Table):
    """Events of one notifier of the server (OPC 10000-3, 4.7; alarms and conditions: 10000-9)."""

    name: SignalName = Field(examples=["alarms"])
    """The text signal that they become; with its machine it is unique on this gateway."""
    node: NodeId = "i=2253"
    """The notifier's NodeId; `i=2253` is the Server object, which notifies of everything."""
    machine: Name | None = None
    """The machine they belong to, where that is not the server's."""
    severity_min: int = Field(1, ge=1, le=1000)
    """Events of a lower severity are not asked for."""
    alarms: bool = True
    """Alarms and conditions too; those that are active already when the subscription begins are
    asked for."""
    state: PackmlState | None = Field(None, examples=["Aborted"])
    """The PackML state that the machine is in while one of these alarms is active."""
    state_clear: PackmlState | None = Field(None, examples=["Execute"])
    """The state that it is in when none is active any more."""
    state_signal: SignalName = "state"
    """The text signal that tells the state, where one is told."""

    @field_validator("state")
    @classmethod
    def _state_is_of_alarms(
        cls, state: PackmlState | None, info: ValidationInfo
    ) -> PackmlState | None:
        if state is not None and info.data.get("alarms") is False:
            raise broken(
                "it must come with alarms: only they are active for a while", "say alarms = true"
            )
        return state

    @field_validator("state_clear")
    @classmethod
    def _clear_has_a_state(
        cls, clear: PackmlState | None, info: ValidationInfo
    ) -> PackmlState | None:
        if clear is not None and "state" in info.data and info.data["state"] is None:
            raise broken(
                "it must come with state, which says what ends with the last alarm",
                'add state = "Aborted", or leave it out',
            )
        return clear
