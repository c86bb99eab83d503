"""OpenTelemetry traces, where TRACING asks for them: one from an upload through its images to its webhook.

The services never call each other, so the trace is carried in the documents, as `traceparent` (W3C Trace Context).
Off, which is the default, nothing of OpenTelemetry is imported, and a span costs one comparison. Where spans go, and
how many of them, its own variables say (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from imagepress.errors import StartupError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

CLOSE_SECONDS: Final = 2.0
"""What the last spans may take at the end of a process: a collector that is away must not hold up its stop."""

_NO_SPAN: Final[AbstractContextManager[None]] = nullcontext()

_provider: TracerProvider | None = None


def configure(*, service: str, enabled: bool) -> None:
    """Begin to trace, once a process, if `enabled`. Raises `StartupError` without the extra `otel`."""
    global _provider
    if not enabled:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise StartupError("TRACING needs OpenTelemetry: pip install 'imagepress[otel]'") from error
    _provider = TracerProvider(resource=Resource.create({"service.name": f"imagepress-{service}"}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def span(name: str, *, parent: str | None = None, **attributes: str | int) -> AbstractContextManager[Any]:
    """Return a context that is one span, below the one around it, or below `parent` (a traceparent).

    An exception that leaves it is recorded, message included: ours quote no URL.
    """
    if _provider is None:
        return _NO_SPAN
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    tracer = _provider.get_tracer("imagepress")
    return tracer.start_as_current_span(
        name, context, attributes={f"imagepress.{key}": value for key, value in attributes.items()}
    )


def carrier() -> dict[str, str]:
    """Return what carries the present span on, in a document or as headers: `traceparent`; nothing without a span."""
    if _provider is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carried: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carried)
    return carried


def close() -> None:
    """Send what has not been sent yet, within `CLOSE_SECONDS`, and trace no more; harmless where nothing is traced."""
    global _provider
    if _provider is not None:
        closing = threading.Thread(target=_provider.shutdown, daemon=True)
        _provider = None
        closing.start()
        closing.join(CLOSE_SECONDS)
