"""The client library of imagepress: upload a CSV, follow it, fetch what came of it."""

from imagepress_client.client import AsyncClient, Client
from imagepress_client.model import ApiError, ApiProblem, Request, Row, Unreachable, Upload

__all__ = ["ApiError", "ApiProblem", "AsyncClient", "Client", "Request", "Row", "Unreachable", "Upload"]
