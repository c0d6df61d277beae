"""Sparkplug payloads for tests: any that our encoder can write, and bytes that went wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from agent.sparkplug import DataSet, DataType, Metric, Parameter, Payload, Property, Template
from agent.sparkplug.datatypes import ARRAY_ITEMS, INTEGERS, TEXTS

D = DataType
TIMES = st.integers(1, 2**43)
NAMES = st.sampled_from(["A", "B", "Motor/Current", "Motor/Current 2", "温度", ""]) | st.text(
    max_size=8
)
FLOATS = st.floats(width=32)


def basics(datatype: DataType) -> st.SearchStrategy[Any]:
    """Values of a basic type."""
    if datatype in INTEGERS:
        return st.integers(*INTEGERS[datatype])
    if datatype in TEXTS:
        return st.text(max_size=12)
    if datatype == D.BOOLEAN:
        return st.booleans()
    return FLOATS if datatype == D.FLOAT else st.floats()


BASIC = st.sampled_from([*INTEGERS, *TEXTS, D.BOOLEAN, D.FLOAT, D.DOUBLE])


def properties() -> st.SearchStrategy[dict[str, Property]]:
    basic = BASIC.flatmap(lambda kind: basics(kind).map(lambda value: Property(kind, value)))
    null = st.just(Property(D.INT32, None))
    nested = st.dictionaries(NAMES, basic, max_size=2).map(
        lambda one: Property(D.PROPERTY_SET, one)
    )
    quality = st.sampled_from([0, 192, 500, 64, 255, -1]).map(lambda q: Property(D.INT32, q))
    some = st.dictionaries(NAMES, basic | null | nested, max_size=3)
    return st.builds(lambda one, two: one | two, some, st.just({}) | quality.map(_named))


def _named(quality: Property) -> dict[str, Property]:
    return {"Quality": quality}


def _others() -> st.SearchStrategy[tuple[DataType, Any]]:
    table = DataSet({"a": D.INT32, "b": D.STRING}, [(-1, "x"), (2, None)])
    inner = Metric("inner", D.DOUBLE, 1.5, 7)
    template = Template([inner], [Parameter("p", D.INT8, -3)], "kind", False, "1")
    return st.sampled_from(
        [
            (D.DATA_SET, table),
            (D.TEMPLATE, template),
            (D.BYTES, b"\0\1"),
            (D.FILE, b""),
            (D.BOOLEAN_ARRAY, [True, False, True]),
            (D.STRING_ARRAY, ["a", ""]),
            *((kind, [1, 2]) for kind in ARRAY_ITEMS),
        ]
    )


def metrics() -> st.SearchStrategy[Metric]:
    valued = BASIC.flatmap(lambda kind: st.tuples(st.just(kind), basics(kind) | st.none()))
    return st.builds(
        lambda held, name, alias, time, historical, transient, given: Metric(
            name, held[0], held[1], time, alias, historical, transient, given
        ),
        valued | _others(),
        st.none() | NAMES,
        st.none() | st.integers(0, 20) | st.integers(0, 2**64 - 1),
        st.none() | TIMES,
        st.booleans(),
        st.booleans(),
        properties(),
    )


def payloads() -> st.SearchStrategy[Payload]:
    return st.builds(
        Payload,
        st.none() | TIMES,
        st.lists(metrics(), max_size=6).map(tuple),
        st.none() | st.integers(0, 255),
    )


def mutated(data: bytes, changes: list[tuple[int, int, int]]) -> bytes:
    """Bytes with some of them changed, removed or added."""
    out = bytearray(data)
    for how, place, byte in changes:
        at = place % (len(out) + 1)
        if how == 0 and out:
            out[at % len(out)] = byte
        elif how == 1:
            del out[at : at + 1 + byte % 3]
        else:
            out.insert(at, byte)
    return bytes(out)


CHANGES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4
)
