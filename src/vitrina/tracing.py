"""Traces of the work by OpenTelemetry: requests, decisions in their six steps, commits, folds, drains, lessons.

Only a workspace whose settings name a place for traces loads this module. The methods that are traced are wrapped on
the very objects of that workspace, so that code without traces pays nothing and reads as if there were none. A span
holds numbers and names of ours: nothing about a person, and no text of an error.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import vitrina
from vitrina.collect.intake import Intake
from vitrina.collect.profiles import ProfileBook
from vitrina.core.errors import VitrinaError, require
from vitrina.decide.engine import Decided
from vitrina.decide.engine import Engine as DecisionEngine
from vitrina.decide.learning import Learner
from vitrina.storage.lake import Lake
from vitrina.storage.writer import Writer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

__all__ = ["STEPS", "RequestSpan", "Tracing", "start_tracing"]

STEPS = ("load_profile", "ask_permission", "list_eligible", "expected_margin", "choose", "answer")
"""The steps of a decision, each a span below the decision's."""

_EXTRA = "otel"
_PATH = "/v1/traces"
_PATIENCE_SECONDS = 2  # of one sending with its repeats: a receiver that is away must not hold up a stop

Attributes = Mapping[str, str | int | bool]


class RequestSpan:
    """The span of one request."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def tell(self, method: str, route: str, status: int, request: str) -> None:
        """Say what it was once that is known.

        Args:
            method: GET, POST, …
            route: the template of its path, never the path.
            status: of the answer.
            request: its id, as the log has it.
        """
        self._span.update_name(f"{method} {route}")
        told: Attributes = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "vitrina.request": request,
        }
        self._span.set_attributes(told)
        if status >= 500:
            _fail(self._span, "")


class Tracing:
    """Traces of one workspace.

    Args:
        provider: makes spans and sends them.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("vitrina", vitrina.__version__)
        self._read = TraceContextTextMapPropagator().extract
        self._server = SpanKind.SERVER

    @contextmanager
    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> Generator[RequestSpan]:
        """The span of a request; it goes on with the trace that a `traceparent` header names (W3C Trace Context)."""
        parent = next((value for name, value in headers if name == b"traceparent"), None)
        context = None if parent is None else self._read({"traceparent": parent.decode("latin-1")})
        with self._tracer.start_as_current_span(
            "request", context, self._server, record_exception=False, set_status_on_exception=False
        ) as span:
            yield RequestSpan(span)

    def wrap(self, owner: Any, method: str, name: str, describe: Callable[[Any], Attributes] | None = None) -> None:
        """Make a span of every call of a method, on this object alone.

        Args:
            owner: whose method.
            method: its name.
            name: of the span.
            describe: what the result says about it.
        """
        inner = getattr(owner, method)

        @functools.wraps(inner)
        def traced(*args: Any, **kwargs: Any) -> Any:
            with self._tracer.start_as_current_span(
                name, record_exception=False, set_status_on_exception=False
            ) as span:
                try:
                    result = inner(*args, **kwargs)
                except Exception as error:
                    _fail(span, error.code if isinstance(error, VitrinaError) else type(error).__name__)
                    raise
                if describe is not None:
                    span.set_attributes(describe(result))
                return result

        setattr(owner, method, traced)

    def wrap_rounds(self, owner: Any, method: str, name: str) -> None:
        """Make a span of each call that did something (its result is how much) or failed; most rounds find nothing."""
        inner = getattr(owner, method)

        @functools.wraps(inner)
        def traced(*args: Any, **kwargs: Any) -> Any:
            began = time.time_ns()
            try:
                result = inner(*args, **kwargs)
            except Exception as error:
                span = self._tracer.start_span(name, start_time=began)
                _fail(span, error.code if isinstance(error, VitrinaError) else type(error).__name__)
                span.end()
                raise
            if result:
                span = self._tracer.start_span(name, start_time=began, attributes={"vitrina.rows": int(result)})
                span.end()
            return result

        setattr(owner, method, traced)

    def close(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()


def _fail(span: Span, code: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, code or None))


def start_tracing(
    endpoint: str,
    share: float,
    *,
    decider: DecisionEngine,
    intake: Intake,
    profiles: ProfileBook,
    writer: Writer,
    lake: Lake,
    learner: Learner,
) -> Tracing:
    """Trace these parts from now on.

    Args:
        endpoint: of an OTLP receiver over HTTP; `/v1/traces` is added where it has no path.
        share: of the traces that begin here and are kept, [0, 1].

    Raises:
        MissingExtraError: the extra `otel` isn't installed.
    """
    tracing = Tracing(_provider(endpoint, share))
    tracing.wrap(decider, "decide", "decide", _of_decision)
    for step in STEPS:
        tracing.wrap(decider, step, step)
    tracing.wrap(intake, "receive", "collect")
    tracing.wrap(writer, "commit", "commit", lambda outcomes: {"vitrina.jobs": len(outcomes)})
    tracing.wrap(profiles, "fold", "fold", lambda count: {"vitrina.rows": count})
    tracing.wrap_rounds(lake, "drain", "drain")
    tracing.wrap_rounds(learner, "step", "learn")
    return tracing


def _of_decision(decided: Decided) -> Attributes:
    row = decided.row
    return {} if row is None else {"vitrina.placement": row.placement, "vitrina.holdout": row.holdout}


def _provider(endpoint: str, share: float) -> TracerProvider:
    exporters = require("opentelemetry.exporter.otlp.proto.http.trace_exporter", _EXTRA)
    require("opentelemetry.sdk.trace", _EXTRA)
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    address = endpoint.rstrip("/") + ("" if urlsplit(endpoint).path.strip("/") else _PATH)
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(share),
        resource=Resource.create({"service.name": "vitrina", "service.version": vitrina.__version__}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(exporters.OTLPSpanExporter(endpoint=address, timeout=_PATIENCE_SECONDS))
    )
    return provider
