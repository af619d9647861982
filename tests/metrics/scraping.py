"""Helpers: parse the Prometheus text format, as a scraper does."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

DOCS = Path(__file__).parents[2] / "docs"

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/"
    "openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def values(text: str, content_type: str = "text/plain") -> Values:
    """Return every sample of a text that Prometheus' own parser accepts."""
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    samples: Values = {}
    for family in parse(text):
        assert family.type in {"counter", "gauge", "histogram"}
        assert family.documentation.endswith(".")
        for sample in family.samples:
            place = sample.name, frozenset(sample.labels.items())
            assert place not in samples, f"{place} is there twice"
            samples[place] = sample.value
    return samples


def value(samples: Values, name: str, app: str = "host", **labels: str) -> float:
    """Return one sample."""
    return samples[name, frozenset({"flask_app": app, **labels}.items())]


def total(samples: Values, name: str, app: str = "host") -> float:
    """Return the sum of a metric of an app over all labels."""
    own = ("flask_app", app)
    return sum(
        value for (metric, labels), value in samples.items() if metric == name and own in labels
    )


def docs_block(word: str) -> str:
    """Return the Python block of the page that holds a word."""
    page = (DOCS / "metrics.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if word in block]
    return str(block)
