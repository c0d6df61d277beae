"""Tests of `agent/kernels`."""
