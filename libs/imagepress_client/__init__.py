"""The client library of imagepress: upload a CSV, follow it, fetch what came of it."""

from imagepress_client.answers import Progress
from imagepress_client.async_client import AsyncClient
from imagepress_client.calls import Options
from imagepress_client.client import Client
from imagepress_client.model import ApiError, ApiProblem, Page, Request, Row, Unreachable, Upload, Webhook

__all__ = [
    "ApiError",
    "ApiProblem",
    "AsyncClient",
    "Client",
    "Options",
    "Page",
    "Progress",
    "Request",
    "Row",
    "Unreachable",
    "Upload",
    "Webhook",
]
