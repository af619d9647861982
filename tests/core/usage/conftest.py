"""What the tests of the usage package share: the fixtures of `usage.stores`."""

from usage.stores import _patience, database_url, record, store, usage_url

__all__ = ["_patience", "database_url", "record", "store", "usage_url"]
