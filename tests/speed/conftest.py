"""The benchmarks are in the source tree alone: elsewhere there is nothing to collect here."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("benchmarks") else ["test_*.py"]
