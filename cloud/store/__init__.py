"""Keeping: one DuckDB database with one owner; see `store.Store`."""
