"""Small real servers on loopback over a folder: SFTP by paramiko, WebDAV (RFC 4918) by http.server."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

import paramiko

USER, PASSWORD = "reader", "let-me-in"


@contextmanager
def sftp(root: Path):
    """Serve a folder; yield port and host key."""
    key = paramiko.ECDSAKey.generate()
    listening = socket.create_server(("127.0.0.1", 0))
    transports = []

    def accept():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Folder, root)
            try:
                transport.start_server(server=_Door())
            except (paramiko.SSHException, EOFError):  # the client did not trust the key
                transport.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listening.getsockname()[1], key
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for transport in transports:
        transport.close()
    thread.join()


class _Door(paramiko.ServerInterface):
    def check_auth_password(self, username, password):
        right = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class _Folder(paramiko.SFTPServerInterface):
    def __init__(self, server, root):
        super().__init__(server)
        self.root = root

    def _path(self, path):
        return self.root / self.canonicalize(path).lstrip("/")

    def list_folder(self, path):
        try:
            found = list(os.scandir(self._path(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return [
            paramiko.SFTPAttributes.from_stat(entry.stat(follow_symlinks=False), entry.name)
            for entry in found
        ]

    def lstat(self, path):
        try:
            return paramiko.SFTPAttributes.from_stat(os.lstat(self._path(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    stat = lstat

    def open(self, path, flags, attr):
        try:
            file = open(self._path(path), "rb")  # noqa: SIM115 - the handle closes it
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = file
        return handle


@contextmanager
def webdav(root: Path):
    """Serve a folder; yield the base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def _target(self):
            return root / unquote(self.path).strip("/")

        def do_PROPFIND(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            target = self._target()
            if not target.exists():
                return self._send(404, b"")
            inside = sorted(target.iterdir()) if target.is_dir() and self.headers["Depth"] == "1" else []
            parts = "".join(_response(path, root) for path in [target, *inside])
            body = f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{parts}</D:multistatus>'
            self._send(207, body.encode(), "application/xml")

        def do_GET(self):
            target = self._target()
            if not target.is_file():
                return self._send(404, b"")
            data, status = target.read_bytes(), 200
            if asked := self.headers.get("Range"):
                first, _, last = asked.removeprefix("bytes=").partition("-")
                data, status = data[int(first) : int(last) + 1 if last else None], 206
            self._send(status, data)

        do_HEAD = do_GET

        def _send(self, status, body, kind="application/octet-stream"):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _response(path: Path, root: Path) -> str:
    href = quote(f"/{path.relative_to(root).as_posix()}".replace("/.", "/"))
    stat = path.stat()
    kind = "<D:collection/>" if path.is_dir() else ""
    size = "" if path.is_dir() else f"<D:getcontentlength>{stat.st_size}</D:getcontentlength>"
    tag = escape(f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"')
    return (
        f"<D:response><D:href>{href}</D:href><D:propstat><D:prop><D:resourcetype>{kind}</D:resourcetype>"
        f"{size}<D:getetag>{tag}</D:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
        "</D:response>"
    )
