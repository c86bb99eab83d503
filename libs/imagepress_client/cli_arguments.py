"""What the command can be given, and what its `--help` says."""

from __future__ import annotations

import argparse
import os
import uuid
from pathlib import Path
from typing import Final, get_args
from urllib.parse import urlsplit

from imagepress_client.model import Status

SERVER: Final = "http://localhost:8000"

_EPILOG: Final = """\
environment:
  IMAGEPRESS_SERVER    where the service is, without --server (default: http://localhost:8000)
  IMAGEPRESS_API_KEY   the key of a service that asks for one; there is no option for it, because
                       other users of a machine can read the options of a command

exit status:
  0    done; where it was waited for, every image succeeded
  1    the request has ended, but not every image succeeded
  2    wrong usage, or a file that cannot be read or written
  3    the service refused; what is wrong stands line by line
  4    the service cannot be reached
  5    the request has not ended within --timeout
  130  interrupted (Ctrl-C); what was accepted goes on

examples:
  imagepress submit catalogue.csv --wait --output result.csv --download images/
  imagepress submit catalogue.csv --webhook https://shop.example/hooks/imagepress
  imagepress list --status failed --json
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; the subcommand's name is `command`."""
    root = argparse.ArgumentParser(
        prog="imagepress",
        description="Upload a CSV of products and image URLs; get every image back compressed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.set_defaults(api_key=os.environ.get("IMAGEPRESS_API_KEY"))
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common, outcome, request = _common(), _outcome(), _request()
    submit = commands.add_parser("submit", parents=[common, outcome], help="upload a CSV")
    _add_submit(submit)
    commands.add_parser("status", parents=[common, outcome, request], help="how far a request is, and what failed")
    listing = commands.add_parser("list", parents=[common], help="all requests, newest first")
    listing.add_argument("--status", choices=get_args(Status), help="only requests of this status")
    listing.add_argument("--limit", type=_number, default=20, metavar="N", help="how many at most (default: 20)")
    commands.add_parser("cancel", parents=[common, request], help="stop a request; images that are done stay")
    commands.add_parser("retry", parents=[common, outcome, request], help="run again what failed")
    return root


def _add_submit(submit: argparse.ArgumentParser) -> None:
    submit.add_argument("csv", type=Path, metavar="CSV", help="S. No.,Product Name,Input Image Urls")
    submit.add_argument("--webhook", metavar="URL", help="called when all is done")
    submit.add_argument("--quality", type=_number, metavar="1-95", help="of the compressed images (default: 50)")
    submit.add_argument("--format", choices=("jpeg", "webp", "avif"), help="of the compressed images (default: jpeg)")
    submit.add_argument("--max-width", type=_number, metavar="PIXELS", help="scale wider images down")
    submit.add_argument("--encoding", metavar="NAME", help="of the file, if it is not UTF-8 or UTF-16: cp1252, …")
    submit.add_argument("--skip-bad-rows", action="store_true", help="go on with the good rows, and tell the bad ones")


def _common() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    server = os.environ.get("IMAGEPRESS_SERVER") or SERVER
    made.add_argument("--server", type=_url, default=server, metavar="URL", help=f"(now: {server})".replace("%", "%%"))
    made.add_argument("--json", action="store_true", help="print one JSON object, for programs; errors too")
    return made


def _outcome() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("--wait", action="store_true", help="show progress until the request has ended")
    made.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="of --wait (default: 3600)")
    made.add_argument("--output", type=Path, metavar="FILE", help="wait, then write the result CSV")
    made.add_argument("--download", type=Path, metavar="DIR", help="wait, then write all images; resumes")
    return made


def _request() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("request_id", type=_id, metavar="REQUEST", help="the id that submit and list show")
    return made


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not the id of a request") from None


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text} is not a URL like {SERVER}")
    return text
