"""Tests of reading a server's history."""
