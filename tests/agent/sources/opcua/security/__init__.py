"""Secured sessions over a real server."""
