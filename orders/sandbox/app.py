"""The HTTP face of the sandbox: effects and undos of five services, the ledger, faults, and a page.

Every error is JSON: {"error": code, "detail": sentence, "fields": {name: sentence}}. See docs/sandbox.md.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from orders.sandbox import page, rules
from orders.sandbox.ledger import Answer, Ledger, Refused, balanced
from orders.sandbox.schemas import EffectBody, Fault, Mode, Service, UndoBody

LARGEST_BODY = 256 * 1024
HANG_SECONDS = 60.0
SAFE = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
Model = TypeVar("Model", bound=BaseModel)


async def _body(request: Request) -> bytes:
    """The body, refused with 413 as soon as it is too long."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > LARGEST_BODY:
            raise Refused(413, "too_large", f"The body is longer than {LARGEST_BODY} bytes.")
    return bytes(read)


async def _json(request: Request, model: type[Model]) -> Model:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "not_json", "Send application/json.")
    return model.model_validate_json(await _body(request))


def _service(request: Request) -> Service:
    try:
        return Service(request.path_params["service"])
    except ValueError as error:
        raise Refused(404, "unknown_service", "There is no such service.") from error


async def _hang(request: Request, seconds: float) -> None:
    """Keep the caller waiting until it gives up, so that a closed connection frees us at once."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not await request.is_disconnected():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.05)


async def _strike(request: Request, fault: Fault, is_undo: bool) -> None:
    """What the fault does before anything is written. Raises Refused where the call fails."""
    if fault.mode is Mode.OUTAGE:
        raise Refused(503, "outage", "The service is switched off.")
    if fault.mode is Mode.ERRORS:
        raise Refused(500, "error", "The service failed, on purpose.")
    if fault.mode is Mode.LATENCY:
        await _hang(request, fault.latency_ms / 1000)
    if fault.mode is Mode.REFUSE_UNDO and is_undo:
        raise Refused(409, "undo_refused", "The service refuses to undo this.")


def _answer(answer: Answer) -> JSONResponse:
    return JSONResponse(
        {"reference": answer.reference, "detail": answer.detail}, status_code=201 if answer.created else 200
    )


async def _fault(request: Request, service: Service, order_id: str) -> Fault:
    ledger: Ledger = request.app.state.ledger
    fault = (await run_in_threadpool(ledger.faults))[service]
    return fault if fault.strikes(order_id, random.random()) else Fault()  # noqa: S311 - not a secret


async def effect(request: Request) -> Response:
    """POST /<service>/effects: 201 done now, 200 the stored answer of this key."""
    service, body = _service(request), await _json(request, EffectBody)
    fault = await _fault(request, service, body.order_id)
    await _strike(request, fault, is_undo=False)
    rules.check(service, body)
    answer = await run_in_threadpool(request.app.state.ledger.effect, service, body)
    if fault.mode is Mode.ACCEPT_THEN_TIMEOUT:
        await _hang(request, fault.latency_ms / 1000 or HANG_SECONDS)
    return _answer(answer)


async def undo(request: Request) -> Response:
    """POST /<service>/undo: 201 undone now, 200 the stored answer of this undo key."""
    service, body = _service(request), await _json(request, UndoBody)
    await _strike(request, await _fault(request, service, body.order_id), is_undo=True)
    return _answer(await run_in_threadpool(request.app.state.ledger.undo, service, body))


def _read_ledger(ledger: Ledger, order_id: str | None) -> dict[str, Any]:
    standing = ledger.standing(order_id)
    orders = {key: {"standing": counts, "balanced": balanced(counts)} for key, counts in standing.items()}
    return {
        "effects": ledger.rows("effects", order_id),
        "undos": ledger.rows("undos", order_id),
        "sums": ledger.sums(order_id),
        "orders": orders,
        "balanced": all(order["balanced"] for order in orders.values()),
    }


async def read_ledger(request: Request) -> Response:
    """GET /ledger[?order_id=...]: the newest 1,000 entries, sums by currency, balance by order."""
    order_id = request.query_params.get("order_id")
    return JSONResponse(await run_in_threadpool(_read_ledger, request.app.state.ledger, order_id))


async def read_faults(request: Request) -> Response:
    """GET /faults: every service and how it misbehaves."""
    faults = await run_in_threadpool(request.app.state.ledger.faults)
    return JSONResponse({service: fault.model_dump() for service, fault in faults.items()})


async def put_fault(request: Request) -> Response:
    """PUT /faults/<service>: JSON of a Fault."""
    service, fault = _service(request), await _json(request, Fault)
    await run_in_threadpool(request.app.state.ledger.set_fault, service, fault)
    return JSONResponse({service: fault.model_dump()})


async def post_fault(request: Request) -> Response:
    """POST /faults/<service>: the same from the page's form. A page of another site is refused."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Refused(403, "cross_site", "Forms are taken from the sandbox's own page only.")
    origin = request.headers.get("origin")
    if origin and origin != "null" and origin.partition("://")[2] != request.headers.get("host"):
        raise Refused(403, "cross_site", "Forms are taken from the sandbox's own page only.")
    service = _service(request)
    try:
        fields = dict(parse_qsl((await _body(request)).decode(), max_num_fields=20))
    except ValueError as error:
        raise Refused(400, "bad_form", "The form cannot be read.") from error
    await run_in_threadpool(request.app.state.ledger.set_fault, service, Fault.model_validate(fields))
    return RedirectResponse("/", status_code=303)


async def index(request: Request) -> Response:
    """The page: faults as forms, sums and the newest entries of the ledger."""
    ledger: Ledger = request.app.state.ledger
    found = await run_in_threadpool(_read_ledger, ledger, None)
    html = await run_in_threadpool(page.render, found, await run_in_threadpool(ledger.faults))
    return HTMLResponse(html, headers=SAFE)


async def stylesheet(_: Request) -> Response:
    return Response(page.stylesheet(), media_type="text/css", headers=SAFE)


async def health(_: Request) -> Response:
    return JSONResponse({"ok": True})


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"error": error.code, "detail": error.detail}, status_code=error.status)


def _invalid(_: Request, error: Exception) -> Response:
    """422 with a sentence for each field; what was sent is never repeated."""
    assert isinstance(error, ValidationError)
    fields = {
        ".".join(map(str, item["loc"])) or "body": item["msg"]
        for item in error.errors(include_input=False)[:50]
    }
    detail = "The request is not valid."
    return JSONResponse({"error": "invalid", "detail": detail, "fields": fields}, status_code=422)


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": "http", "detail": error.detail}, status_code=error.status_code)


def create(ledger: Ledger) -> Starlette:
    """The ASGI application on this ledger. It answers to loopback names only, against DNS rebinding."""
    routes = [
        Route("/", index),
        Route("/sandbox.css", stylesheet),
        Route("/healthz", health),
        Route("/ledger", read_ledger),
        Route("/faults", read_faults),
        Route("/faults/{service}", put_fault, methods=["PUT"]),
        Route("/faults/{service}", post_fault, methods=["POST"]),
        Route("/{service}/effects", effect, methods=["POST"]),
        Route("/{service}/undo", undo, methods=["POST"]),
    ]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    handlers: dict[Any, Any] = {Refused: _refused, ValidationError: _invalid, HTTPException: _http}
    app = Starlette(routes=routes, middleware=[trusted], exception_handlers=handlers)
    app.state.ledger = ledger
    return app
