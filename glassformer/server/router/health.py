"""Whether the server lives, whether it can serve, and what it counts."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from glassformer.server.error_answer import json_response
from glassformer.server.services import ServicesOf

router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> dict[str, bool]:
    """200 as soon as the process can answer."""
    return {"ok": True}


@router.get("/ready")
async def ready(services: ServicesOf) -> Response:
    """200 as soon as a model can serve."""
    if services.registry.count_ready():
        return json_response({"ready": True}, 200)
    progress = services.registry.progress(services.settings.default_model)
    stage = progress.stage if progress else "available"
    return json_response(
        {"error": f"No model is ready yet; the default one is {stage}."}, 503, {"Retry-After": "2"}
    )


@router.get("/metrics")
async def metrics(services: ServicesOf) -> Response:
    """Counters for Prometheus."""
    services.measure()
    return Response(generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)
