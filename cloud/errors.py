"""What can go wrong in the cloud, and what it is called.

    CloudError                  one clear sentence on stderr, the process ends with `exit_code`
      UsageError                2  an option, an environment variable or a token file is wrong
      BindError                 3  the address cannot be bound
      DataFolderError           4  the data folder cannot be written, read or locked
    LineError                   a line of line protocol cannot be read (becomes 400)
    StoreError                  the database refused a commit or a read (becomes 503)
      QueueFullError            too many writes wait for the disk (becomes 503)
    Refusal                     an HTTP answer other than the one asked for

Refusals are rendered by `cloud.app`: in InfluxDB's shape under `/api/v2`, as RFC 9457 problems
elsewhere.
"""

from collections.abc import Mapping
from enum import IntEnum

from starlette.exceptions import HTTPException


class ExitCode(IntEnum):
    """The exit codes of `andon-cloud`, all of them."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    BIND = 3
    DATA_FOLDER = 4


class CloudError(Exception):
    """An error that ends the command: the message says where, what and what to do."""

    exit_code = ExitCode.INTERNAL


class UsageError(CloudError):
    """An option or a setting is wrong."""

    exit_code = ExitCode.USAGE


class BindError(CloudError):
    """The address cannot be bound."""

    exit_code = ExitCode.BIND


class DataFolderError(CloudError):
    """The data folder cannot be used."""

    exit_code = ExitCode.DATA_FOLDER


class LineError(Exception):
    """A line that cannot be read.

    Parameters
    ----------
    line_number : counted from 1 in the body.
    line : the text of the line, cut to a length fit for a message.
    reason : what is wrong with it.

    """

    def __init__(self, line_number: int, line: str, reason: str) -> None:
        super().__init__(f"unable to parse '{line}': {reason}")
        self.line_number = line_number
        self.line = line
        self.reason = reason


class StoreError(Exception):
    """The database refused a commit, of which nothing was kept, or cannot be read now."""


class QueueFullError(StoreError):
    """More writes wait for the disk than the named limit allows."""


class Refusal(HTTPException):
    """An HTTP answer of 4xx or 5xx, with `code` as InfluxDB names it (`invalid`, `not found`)."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status_code=status, detail=detail, headers=dict(headers or {}))
        self.code = code
