"""Metrics export: the bridge to Prometheus."""
