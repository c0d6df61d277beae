"""Units of measurement as people write them, from an EUInformation.

Enters: the namespace, number and display name that a server gives (OPC 10000-8, 5.6.4). Leaves: at
most 32 characters. A number of UN/CEFACT Recommendation 20 is its common code, each character one
byte, highest first (OPC 10000-8, 5.6.4.4): 5723220 is 0x575454, "WTT", W. The table holds the codes
that machines use; any other unit is written as the server displays it.
"""

from __future__ import annotations

from typing import Any, Final

UNIT_CHARS_MAX: Final = 32
UNECE: Final = "http://www.opcfoundation.org/UA/units/un/cefact"

_SYMBOLS: Final = {
    "CEL": "°C", "FAH": "°F", "KEL": "K", "P1": "%", "C62": "", "H87": "pcs", "DD": "°",
    "SEC": "s", "C26": "ms", "MIN": "min", "HUR": "h", "DAY": "d", "HTZ": "Hz", "KHZ": "kHz",
    "MTR": "m", "CMT": "cm", "MMT": "mm", "4H": "µm", "MTK": "m²", "MTQ": "m³",
    "LTR": "l", "MLT": "ml", "L2": "l/min", "MQH": "m³/h", "MQS": "m³/s",
    "MTS": "m/s", "C16": "mm/s", "KMH": "km/h", "2X": "m/min", "RPM": "rpm", "MSK": "m/s²",
    "GRM": "g", "KGM": "kg", "TNE": "t", "KGS": "kg/s", "E93": "kg/h", "KMQ": "kg/m³",
    "NEW": "N", "B47": "kN", "NU": "N·m", "PAL": "Pa", "KPA": "kPa", "MPA": "MPa", "BAR": "bar",
    "MBR": "mbar", "VLT": "V", "KVT": "kV", "2Z": "mV", "AMP": "A", "4K": "mA", "OHM": "Ω",
    "WTT": "W", "KWT": "kW", "MAW": "MW", "D46": "VA", "KVA": "kVA", "D44": "var", "KVR": "kvar",
    "JOU": "J", "KJO": "kJ", "WHR": "Wh", "KWH": "kWh", "MWH": "MWh", "K3": "kvarh",
}  # fmt: skip
_WRITTEN: Final = {"W·h": "Wh", "kW·h": "kWh", "kW·hr": "kWh", "V·A": "VA", "r/min": "rpm"}
"""Display names of the published table that nobody writes."""


def unit_of(information: Any) -> str:
    """The unit of an EUInformation as the walk keeps it; "" where there is none."""
    if not isinstance(information, dict):
        return ""
    if information.get("namespace") == UNECE:
        symbol = _SYMBOLS.get(_code(information.get("id", 0)))
        if symbol is not None:
            return symbol
    name = " ".join(str(information.get("name") or "").split())
    name = "".join(char for char in name if char.isprintable())
    return _WRITTEN.get(name, name)[:UNIT_CHARS_MAX].strip()


def _code(number: int) -> str:
    if not 0 < number < 1 << 32:
        return ""
    return number.to_bytes(4, "big").lstrip(b"\0").decode("ascii", "replace")
