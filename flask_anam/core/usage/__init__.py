"""Usage: session records, their stores, quotas and reports."""
