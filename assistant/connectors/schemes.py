"""Which driver a URL needs, and how it is opened.

It owns the table of schemes, their extras and their safe defaults; an absent driver is one ConfigError
that names the extra to install.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from assistant.errors import ConfigError, IngestError

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """`extra` installs `package`; in a `flat` store one request lists everything below a prefix."""

    extra: str
    package: str
    flat: bool = False


_S3 = Scheme(extra="s3", package="s3fs", flat=True)
_GS = Scheme(extra="gs", package="gcsfs", flat=True)
_AZ = Scheme(extra="az", package="adlfs", flat=True)
_SFTP = Scheme(extra="sftp", package="paramiko")
_WEBDAV = Scheme(extra="webdav", package="webdav4")
SCHEMES: Mapping[str, Scheme] = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GS,
    "gcs": _GS,
    "az": _AZ,
    "abfs": _AZ,
    "abfss": _AZ,
    "sftp": _SFTP,
    "ssh": _SFTP,
    "smb": Scheme(extra="smb", package="smbprotocol"),
    "webdav": _WEBDAV,
    "dav": _WEBDAV,
}


def opened(url: str, options: Mapping[str, Any]) -> tuple[Any, str, bool]:
    """Return the file system of a URL, the path of its root in it, and whether it is flat.

    Raises:
        ConfigError: nobody knows the scheme, its driver is not installed, or refuses the options.
        Exception: what the driver raises when it cannot connect.
    """
    name = url.partition("://")[0].lower()
    scheme = SCHEMES.get(name)
    try:
        if scheme is _WEBDAV:
            files, root = _webdav(url, dict(options))
        elif scheme is _SFTP:
            files, root = _sftp(url, dict(options))
        else:
            files, root = _any(url, options)
    except ImportError as error:
        if scheme is None:
            raise ConfigError(
                f"{name}:// cannot be opened: {error}.", remedy="Install its driver."
            ) from error
        raise ConfigError(
            f"{name}:// needs the package {scheme.package}, which is not installed.",
            remedy=f"Run `pip install 'hybrid-assistant[{scheme.extra}]'`.",
        ) from error
    except (ValueError, TypeError) as error:
        raise IngestError(
            f"{name}:// cannot be opened: {error}.", remedy="Check `url` and `options`."
        ) from error
    return files, root, scheme is not None and scheme.flat


def _any(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    files, root = url_to_fs(url, skip_instance_cache=True, **options)
    return files, str(root)


def _webdav(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    """Open `webdav://host/path`: https, unless `base_url` says another root."""
    from webdav4.fsspec import WebdavFileSystem

    parts = urlsplit(url)
    host = parts.hostname or ""
    place = f"{host}:{parts.port}" if parts.port else host
    if parts.username:
        options.setdefault("auth", (unquote(parts.username), unquote(parts.password or "")))
    auth = options.pop("auth", None)
    base_url = options.pop("base_url", f"https://{place}")
    options.setdefault("timeout", _TIMEOUT_S)
    files = WebdavFileSystem(base_url, auth=tuple(auth) if isinstance(auth, list) else auth, **options)
    return files, unquote(parts.path).strip("/")


def _sftp(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    """Open `sftp://`: only to a host whose key is known, and with an end to every wait."""
    options.setdefault("host_key_policy", _known_hosts())
    options.setdefault("timeout", _TIMEOUT_S)
    files, root = _any(url, options)
    files.ftp.get_channel().settimeout(_TIMEOUT_S)
    return files, root


def _known_hosts() -> Any:  # noqa: ANN401 - paramiko has no types
    """Return a policy that trusts the keys of `~/.ssh/known_hosts`; fsspec's own trusts any."""
    import paramiko

    class KnownHosts(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
        """Trust the keys of `~/.ssh/known_hosts`."""

        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ANN401
            """Raise unless the key is there."""
            file = Path("~/.ssh/known_hosts").expanduser()
            known = paramiko.HostKeys(str(file)) if file.is_file() else paramiko.HostKeys()
            if not known.check(hostname, key):
                raise PermissionError(
                    f"the key of {hostname} is not in {file}: compare it and add it (ssh-keyscan {hostname})"
                )

    return KnownHosts()
