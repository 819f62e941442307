"""What is counted, for Prometheus. Each app has its own registry, so that tests can build many.

Names follow vLLM's, with `glassformer_` in place of `vllm:`: Prometheus keeps the colon for recording rules. See
docs.vllm.ai, "Metrics".
"""

from __future__ import annotations

from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from glassformer.engine.meter import Meter

# From a cached cell to a long generation.
SECS_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)
FIRST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
NEXT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
WAIT_BUCKETS = (0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics(Meter):
    """Counters, and what engines tell of their generations."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make = self._make
        self.requests = make(Counter, "requests", "Requests answered.", ["method", "route", "status"])
        self.request_secs = make(
            Histogram,
            "request_seconds",
            "Time until a request was answered in full.",
            ["route"],
            buckets=SECS_BUCKETS,
        )
        self.tokens = make(Counter, "tokens", "Tokens read and written.", ["kind"])
        self.generations = make(Gauge, "generations", "Generations running or waiting.")
        self.running = make(Gauge, "num_requests_running", "Generations that have a place.")
        self.waiting = make(Gauge, "num_requests_waiting", "Generations that wait for one.")
        self.wait_secs = make(
            Histogram,
            "request_queue_time_seconds",
            "Time until a generation had a place.",
            buckets=WAIT_BUCKETS,
        )
        self.first_secs = make(
            Histogram,
            "time_to_first_token_seconds",
            "Time until the first token was written.",
            buckets=FIRST_BUCKETS,
        )
        self.next_secs = make(
            Histogram,
            "inter_token_latency_seconds",
            "Time from a token to the next one of its text.",
            buckets=NEXT_BUCKETS,
        )
        self.prefix_queries = make(
            Counter,
            "prefix_cache_queries",
            "Tokens of prompts that were looked up among what was read before.",
        )
        self.prefix_hits = make(Counter, "prefix_cache_hits", "Those of them that need not be read again.")
        self.key_value_bytes = make(
            Gauge, "kv_cache_bytes", "Memory of keys and values, under way and kept, that no recording holds."
        )
        self.models = make(Gauge, "models", "Models in memory.")
        self.loads = make(Counter, "model_loads", "Models that came into use.")
        self.unloads = make(Counter, "model_unloads", "Models whose memory was given back.")
        self.recordings = make(Gauge, "recordings", "Recordings kept.")
        self.recording_bytes = make(Gauge, "recording_bytes", "Memory of recordings.")
        self.recordings_closed = make(
            Counter, "recordings_forgotten", "Recordings that were deleted or made room for others."
        )

    def _make(
        self, kind: type[M], name: str, says: str, labels: tuple[str, ...] | list[str] = (), **more: Any
    ) -> M:
        return kind(f"glassformer_{name}", says, labels, registry=self.registry, **more)

    def begin(self, waited_secs: float) -> None:
        self.wait_secs.observe(waited_secs)

    def look_up(self, prompt_tokens: int, known_tokens: int) -> None:
        self.prefix_queries.inc(prompt_tokens)
        self.prefix_hits.inc(known_tokens)

    def write_first(self, secs: float) -> None:
        self.first_secs.observe(secs)

    def write_next(self, secs: float) -> None:
        self.next_secs.observe(secs)
