"""The application: the services of one home behind one gate, with health, metrics and an OpenAPI document."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Literal, TypeAlias

from fastapi import FastAPI, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import compile_path

from necrocode.artifacts.local import LocalArtifacts
from necrocode.engine.database import Database
from necrocode.engine.errors import EnvironmentFault
from necrocode.pool.embedded import EmbeddedPool
from necrocode.registry.embedded import EmbeddedRegistry
from necrocode.registry.embedded_sets import EmbeddedTaskSets
from necrocode.serve import answers
from necrocode.serve.artifacts import artifact_routes
from necrocode.serve.gate import Gate, Limits
from necrocode.serve.metrics import CONTENT_TYPE, Metrics
from necrocode.serve.pool import Bell, pool_routes, reclaim
from necrocode.serve.registry import registry_routes
from necrocode.serve.tasksets import taskset_routes
from necrocode.serve.tokens import Tokens

Part: TypeAlias = Literal["registry", "pool", "artifacts"]
PARTS: tuple[Part, ...] = ("registry", "pool", "artifacts")


@dataclass(frozen=True)
class Services:
    """The stores that are served."""

    database: Database
    pool: EmbeddedPool
    artifacts: LocalArtifacts
    #: Of the slots.
    lease: timedelta
    bell: Bell = field(default_factory=Bell)
    metrics: Metrics = field(default_factory=Metrics)


class Health(BaseModel):
    """The server is there."""

    status: Literal["ok"] = "ok"


def application(services: Services, tokens: Tokens, limits: Limits, parts: Collection[Part] = PARTS) -> FastAPI:
    """The ASGI application with the calls of ``parts``."""

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if "pool" not in parts:
            yield
            return
        task = asyncio.create_task(reclaim(services.pool, services.lease, services.bell))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app = FastAPI(
        title="necrocode services", version=version("necrocode"), docs_url=None, redoc_url=None, lifespan=life
    )
    answers.install(app)
    app.add_middleware(Gate, tokens=tokens, limits=limits, metrics=services.metrics)
    registry = EmbeddedRegistry(services.database)

    @app.get("/health", responses=answers.refusals(), tags=["server"])
    async def health() -> Health:
        """The server is there. Needs no token."""
        return Health()

    @app.get("/ready", responses=answers.refusals(), tags=["server"])
    def ready() -> Health:
        """The stores can be used, and the server is not about to end."""
        if services.bell.closing:
            raise answers.Refused(503, "closing", "the server is about to end")
        try:
            registry.health_check()
            services.artifacts.health_check()
        except EnvironmentFault as fault:
            raise answers.Refused(503, fault.stop_reason, str(fault)) from fault
        return Health()

    @app.get(
        "/metrics",
        response_class=Response,
        responses={**answers.refusals(), 200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}},
        tags=["server"],
    )
    def metrics() -> Response:
        """Counters for Prometheus."""
        slots = Counter[str](slot.status for slot in services.pool.list_slots())
        return Response(services.metrics.text({"necrocode_slots": slots}), media_type=CONTENT_TYPE)

    if "registry" in parts:
        app.include_router(registry_routes(services.database, registry))
        app.include_router(taskset_routes(EmbeddedTaskSets(services.database)))
    if "pool" in parts:
        app.include_router(pool_routes(services.database, services.pool, services.lease, services.bell))
    if "artifacts" in parts:
        app.include_router(artifact_routes(services.database, services.artifacts))
    _document(app, secured=bool(tokens))
    _name_allowed_methods(app)
    return app


def _document(app: FastAPI, *, secured: bool) -> None:
    """Put right in the OpenAPI document what FastAPI can't know: which calls need a token, and that what stands in a
    query or a header is left out where Python has ``None``, never written as ``null``.
    """
    document: dict[str, Any] = app.openapi()
    for calls in document["paths"].values():
        for call in calls.values():
            for parameter in call.get("parameters", ()):
                kinds = parameter["schema"].pop("anyOf", ())
                parameter["schema"] |= next((kind for kind in kinds if kind != {"type": "null"}), {})
    if secured:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, calls in document["paths"].items():
            for call in calls.values():
                call["security"] = [] if path == "/health" else [{"token": []}]


def _name_allowed_methods(app: FastAPI) -> None:
    """Let a 405 name every method of its path: by default it names those of one route only."""
    methods = {path: sorted(method.upper() for method in calls) for path, calls in app.openapi()["paths"].items()}
    patterns = [(compile_path(path)[0], allowed) for path, allowed in methods.items()]

    @app.exception_handler(405)
    def not_allowed(request: Request, error: HTTPException) -> Response:
        path = request.scope["path"]
        # a path that stands there as it is comes before one that matches it, such as /slots/{slot_id}
        allowed = methods.get(path) or next((allowed for pattern, allowed in patterns if pattern.match(path)), [])
        message = f"{request.method} is not for this path; {', '.join(allowed)} is"
        return answers.refusal(error.status_code, "method_not_allowed", message, {"Allow": ", ".join(allowed)})
