"""Topics of Sparkplug."""

from __future__ import annotations

import pytest

from agent.sparkplug import Topic, state_topic


@pytest.mark.parametrize(
    "text",
    ["spBv1.0/g/NBIRTH/n", "spBv1.0/g/DDATA/n/d", "spBv1.0/产线 1/DDEATH/n 1/d.2",
     "spBv1.0/g/NCMD/n"],
)  # fmt: skip
def test_a_topic_is_written_as_it_was_read(text: str) -> None:
    assert str(Topic.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["spBv1.0/g/NBIRTH", "spBv1.0/g/NBIRTH/n/d", "spBv1.0/g/DBIRTH/n", "spBv1.0/g/DBIRTH/n/d/e",
     "spAv1.0/g/NBIRTH/n", "spBv1.0/STATE/host", "spBv1.0//NBIRTH/n", "spBv1.0/g/NBIRTH/",
     "spBv1.0/g/nbirth/n", "spBv1.0/g/NBIRTH/n+", "spBv1.0/g#/NBIRTH/n", ""],
)  # fmt: skip
def test_what_is_no_topic_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|not|needs|has no"):
        Topic.parse(text)


def test_parts_that_would_be_other_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="must not contain"):
        Topic("a/b", "NBIRTH", "n")


def test_a_host_says_its_state_under_its_own_topic() -> None:
    assert state_topic("scada") == "spBv1.0/STATE/scada"
