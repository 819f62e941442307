"""The app factory: middlewares in their order, routers, and what lives as long as the server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

import structlog
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from glassformer.errors import GlassformerError
from glassformer.server import ignored_name
from glassformer.server.error_answer import install_error_handlers
from glassformer.server.log import configure_unless_done
from glassformer.server.openapi import install_document
from glassformer.server.request_limit import Deadline, RateLimit, SizeLimit
from glassformer.server.root_path import RootPath
from glassformer.server.router import (
    classic,
    effects,
    health,
    live,
    models,
    openai,
    page,
    readings,
    responses,
    shapes,
    tokens,
    traces,
    zarr,
)
from glassformer.server.security import HostGuard, KeyGuard, origin_pattern
from glassformer.server.services import Services
from glassformer.server.watch import Watch
from glassformer.settings import Settings
from glassformer.tested import list_newer

log = structlog.get_logger(__name__)

EXPOSED_HEADERS = ["ETag", "Retry-After", ignored_name.HEADER]


def create_app(settings: Settings | None = None) -> FastAPI:
    """A server as `settings` say. Quick: models load behind it."""
    settings = settings or Settings()
    configure_unless_done(logging.INFO)
    services = Services(settings)

    @asynccontextmanager
    async def live_time(_: FastAPI) -> AsyncIterator[None]:
        newer = list_newer()
        if newer:
            log.warning("some packages are newer than what was tested", packages=[str(one) for one in newer])
        # The default one first: it is what the page waits for.
        for model_id in dict.fromkeys([settings.default_model, *settings.pinned_models]):
            try:
                if model_id in settings.pinned_models:
                    services.registry.pin(model_id)
                services.registry.load(model_id)
            except GlassformerError as error:
                log.warning("a model cannot be loaded at the start", model_id=model_id, reason=error.message)
        yield
        services.close()
        await services.wait_closed()

    app = FastAPI(
        title="Glassformer",
        version=find_version(),
        lifespan=live_time,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        middleware=stack(settings, services),
        # The usual pages of these load their scripts from elsewhere; the schema itself is served.
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    install_error_handlers(app)
    # Zarr before models: a model id may contain slashes, so the more special path comes first.
    for router in (
        health,
        classic,
        openai,
        responses,
        tokens,
        zarr,
        traces,
        readings,
        effects,
        shapes,
        models,
        live,
        page,
    ):
        app.include_router(router.router)
    install_document(app)
    return app


def stack(settings: Settings, services: Services) -> list[Middleware]:
    """Outermost first: even a refusal carries the CORS headers, and every refusal is counted."""
    return [
        Middleware(RootPath, prefix=settings.root_path),
        Middleware(
            CORSMiddleware,
            allow_origin_regex=origin_pattern(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        ),
        Middleware(Watch, metrics=services.metrics),
        Middleware(HostGuard, settings=settings),
        Middleware(RateLimit, settings=settings, is_loaded=services.registry.is_ready),
        Middleware(KeyGuard, settings=settings),
        Middleware(SizeLimit, settings=settings),
        Middleware(Deadline, settings=settings, closing=services.closing),
    ]


def find_version() -> str:
    try:
        return version("glassformer")
    except PackageNotFoundError:
        return "0"
