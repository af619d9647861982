"""What the servers load: the app that ``BENCH_APP`` names, as ``app``."""

from __future__ import annotations

import importlib
import os

app = importlib.import_module(f"benchmarks.apps.{os.environ['BENCH_APP']}").make_app()
