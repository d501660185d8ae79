"""`assistant serve`: the HTTP API on this machine."""

from __future__ import annotations

import ipaddress
import socket
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress

from assistant.cli.command import command, opened


def arguments(parser: ArgumentParser) -> None:
    """Declare `serve --host --port`."""
    parser.add_argument("--host", help="address to listen on (default: serve.host, loopback)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (default: serve.port)")
    command(parser, run)


def run(args: Namespace) -> int:
    """Serve until interrupted or terminated; the address is taken before any model is loaded.

    On either signal nothing new is taken, and running answers get `engine.drain_s` to finish.
    """
    from assistant.api.draining import DrainingServer
    from assistant.api.server import ready

    app = opened(args)
    host = args.host or app.settings.serve.host
    port = app.settings.serve.port if args.port is None else args.port
    with _listen(host, port) as listener:
        if not _loopback(host):
            print(f"note: {host} is open to other machines; put TLS in front of it.", file=sys.stderr)
        if not any(key.revoked_at is None for key in app.keys.list()):
            print("note: there is no API key yet; make one with `assistant keys create`.", file=sys.stderr)
        ready(app)  # before the server runs, so that what is wrong is one line
        bound, *_ = listener.getsockname()[1:]
        shown = f"[{host}]" if ":" in host else host
        print(f"serving on http://{shown}:{bound}/v1", flush=True)
        server = DrainingServer(app, access_log=not args.json)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    return 0 if server.started else 1


def _listen(host: str, port: int) -> socket.socket:
    from assistant.errors import ConfigError

    if not 0 <= port <= 65535:
        raise ConfigError(f"Port {port} is not from 0 to 65535.", remedy="Give another --port.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}.",
            remedy="Give another --host or --port.",
        ) from error


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
