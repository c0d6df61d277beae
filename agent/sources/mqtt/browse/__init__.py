"""Browsing a broker: from its address to the tables that would read what it brings.

Enters: a broker's table and topic filters. Leaves: what was heard for a while (`heard.py`), of
which `propose` makes offers: topics that are alike become one pattern (`families.py`, `places.py`),
their payloads a table (`shapes`), their values a kind (`kinds.py`). Fails: as `listen` does.
Nothing is ever published.
"""

from agent.sources.mqtt.browse.heard import Heard, Topic
from agent.sources.mqtt.browse.listen import listen
from agent.sources.mqtt.browse.nodes import Member, Sparkplug
from agent.sources.mqtt.browse.proposal import Known, Offer, Proposal, propose

__all__ = [
    "Heard",
    "Known",
    "Member",
    "Offer",
    "Proposal",
    "Sparkplug",
    "Topic",
    "listen",
    "propose",
]
