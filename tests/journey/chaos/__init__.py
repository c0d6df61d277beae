"""Chaos: faults drawn from a seed over a running line, then every sample is asked for.

    python -m tests.journey.chaos --runs 200 --seed 1 --json

One rig lives across the runs: mosquitto, `andon run` and `andon-cloud`, each a real process, with a
link that can be cut between each two of them. A publisher keeps its own record of what the broker
acknowledged. After each run everything is mended, all must arrive, and the agent's ledger and the
cloud's store must say the same as that record, sample by sample.
"""
