"""What is counted, for Prometheus. Each app has its own registry, so that tests can build many."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a cached cell to a long generation.
SECS_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "glassformer_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.request_secs = Histogram(
            "glassformer_request_seconds",
            "Time until a request was answered in full.",
            ["route"],
            registry=self.registry,
            buckets=SECS_BUCKETS,
        )
        self.tokens = Counter(
            "glassformer_tokens", "Tokens read and written.", ["kind"], registry=self.registry
        )
        self.generations = Gauge(
            "glassformer_generations", "Generations running or waiting.", registry=self.registry
        )
        self.models = Gauge("glassformer_models", "Models in memory.", registry=self.registry)
        self.recordings = Gauge("glassformer_recordings", "Recordings kept.", registry=self.registry)
        self.recording_bytes = Gauge(
            "glassformer_recording_bytes", "Memory of recordings.", registry=self.registry
        )
