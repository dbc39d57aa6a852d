"""Names and a key for tests that pretend to be NGC over HTTPS on loopback."""

from support.misbehaving_server import MisbehavingServer

KEY = "nvapi-Secret+Key/0123456789=="
NGC = "api.ngc.nvidia.com"
NGC_FILES = "files.ngc.nvidia.com"
MIRROR = "mirror.example"
HOSTS = (NGC, NGC_FILES, MIRROR, "localhost")


def authorizations(*servers: MisbehavingServer) -> list[str | None]:
    return [
        request.headers.get("Authorization") for server in servers for request in server.requests
    ]
