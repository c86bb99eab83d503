"""The command `imagepress`: what it is given becomes calls of the client library, and errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import IntEnum

from imagepress_client import cli_commands
from imagepress_client.cli_arguments import parser
from imagepress_client.cli_show import Show
from imagepress_client.client import Client
from imagepress_client.model import ApiError, Unreachable


class Exit(IntEnum):
    """What the exit status says; `imagepress --help` tells the same."""

    DONE = 0
    IMAGES_FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    TOO_SLOW = 5
    INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    given = parser().parse_args(arguments)
    show = Show(as_json=given.json)
    try:
        with Client(given.server, api_key=given.api_key) as client:
            return Exit.DONE if cli_commands.COMMANDS[given.command](client, given, show) else Exit.IMAGES_FAILED
    except KeyboardInterrupt:
        show.error("interrupted; what was accepted goes on: imagepress list shows it")
        return Exit.INTERRUPTED
    except ApiError as error:
        show.error(error.detail or str(error), error.problems, status=error.status)
        return Exit.REFUSED
    except Unreachable as error:
        show.error(f"{given.server} cannot be reached: {error}")
        return Exit.UNREACHABLE
    except TimeoutError as error:
        show.error(str(error))
        return Exit.TOO_SLOW
    except OSError as error:  # of a file that the user named
        show.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return Exit.USAGE
    except cli_commands.UnsafeName as error:
        show.error(str(error))
        return Exit.REFUSED


if __name__ == "__main__":
    sys.exit(main())
