"""The pipeline, between sources and an outbox in memory."""
