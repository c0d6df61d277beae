"""Rules: which topic brings what, by the patterns of the configuration.

Enters: topics as they come. Leaves: the rule that reads each, and what its levels name. The first
rule that matches counts. A pattern is compiled once; each distinct topic is looked up once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agent.config import TopicConfig
from agent.config.mqtt import PLACEHOLDERS

_NAMED: Final = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")


class Rules:
    """The topics' rules of one broker."""

    def __init__(self, topics: Sequence[TopicConfig]) -> None:
        self._rules = [(topic, compiled(topic.topic)) for topic in topics]

    def find(self, topic: str) -> tuple[TopicConfig, Mapping[str, str]] | None:
        """The rule of a topic and what its levels name, by placeholder; None where none matches.

        A name may be one that no machine or signal can have; the resolver says so.
        """
        for rule, pattern in self._rules:
            match = pattern.fullmatch(topic)
            if match is not None:
                return rule, match.groupdict()
        return None


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of topics as a regular expression. `a/#` matches `a` too (MQTT 5.0, 4.7.1.2)."""
    return re.compile("".join(_levels(pattern)), re.DOTALL)


def _levels(pattern: str) -> Iterator[str]:
    for place, level in enumerate(pattern.split("/")):
        slash = "/" if place else ""
        if level == "#":
            yield f"(?:{slash}.*)?" if place else ".*"
        elif level == "+":
            yield f"{slash}[^/]*"
        else:
            yield slash + "".join(_parts(level))


def _parts(level: str) -> Iterator[str]:
    for text, name in zip(*(iter((*_NAMED.split(level), "")),) * 2, strict=True):
        yield re.escape(text)
        if name:
            yield f"(?P<{name}>[^/]+)"
