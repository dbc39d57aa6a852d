"""How much and how long a download may take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one source; bytes and seconds. The first three are `download:` of config.yaml."""

    max_bytes: int = 20_000_000_000
    max_seconds: float = 14_400
    retries: int = 4  # in a row without `progress_bytes` between them
    connect_seconds: float = 15
    read_seconds: float = 60  # between two bytes
    answer_seconds: float = 180  # from asking to the end of the headers, redirects included
    window_seconds: float = 60  # a body that brings less than window_bytes in it is too slow
    window_bytes: int = 1_000_000
    progress_bytes: int = 16_384
    backoff: float = 1  # seconds; doubles with every try
    backoff_max: float = 60
    retry_after_max: float = 120  # a server's Retry-After counts up to here
