"""Metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from crossrec_cli.serving.live import Service

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """Counts requests and their seconds; the other metrics are read from the service on request."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("crossrec_requests", "Answered requests.", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "crossrec_request_seconds",
            "Seconds from the request's head to the answer's end.",
            ["path"],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self.registry.register(_Served(service))

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count a request; ``path`` is its route, so that there are few different ones."""
        self.requests.labels(path, status).inc()
        self.seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Served(Collector):
    """Metrics of the served model and the stored events."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("crossrec_events", "Events that are kept.", value=len(self.service.events))
        not_logged = CounterMetricFamily("crossrec_lists_not_logged", "Lists that the log could not take.")
        not_logged.add_metric([], self.service.not_logged)
        yield not_logged
        yield InfoMetricFamily("crossrec_model", "The served model.", value={"id": self.service.live.model_id})
        swaps = CounterMetricFamily("crossrec_swaps", "Attempts to load newer artifacts.", labels=["outcome"])
        for outcome, count in self.service.swaps.items():
            swaps.add_metric([outcome], count)
        yield swaps
