"""What the SFTP library says, in our words: its attributes of files, its errors."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapters.runners.file.ports import FileTrouble, PeerLost


class Missing(FileTrouble):
    """There is nothing of that name."""


@contextlib.contextmanager
def telling(client: Any, host: str, path: Path) -> Iterator[None]:
    """The library's errors as ours, with the path that they are about."""
    from paramiko import SFTPError, SSHException

    try:
        yield
    except TimeoutError:
        client.get_channel().get_transport().close()  # what comes later answers another question
        raise PeerLost(f"{host}: no answer in time") from None
    except FileNotFoundError:
        raise Missing(f"{host}: {path}: no such file") from None
    except EOFError:  # told before the channel is marked as ended
        raise PeerLost(f"{host}: the connection was lost at {path}") from None
    except (OSError, SSHException, SFTPError, ValueError) as error:
        channel = client.get_channel()
        if channel.closed or channel.eof_received or not channel.get_transport().is_active():
            raise PeerLost(f"{host}: the connection was lost at {path}") from None
        text = (error.strerror if isinstance(error, OSError) and error.errno == errno.EACCES else "") or str(error)
        raise FileTrouble(f"{host}: {path}: {text}") from None


def attributes_of(mode: int, info: os.stat_result) -> Any:
    """For a request that sets permissions and times."""
    from paramiko import SFTPAttributes

    wanted = SFTPAttributes()
    wanted.st_mode, wanted.st_atime, wanted.st_mtime = mode, int(info.st_atime), int(info.st_mtime)
    return wanted


def info_of(attributes: Any) -> os.stat_result:
    """Without a type (mode 0) where the server tells none."""
    mode, size, mtime = attributes.st_mode or 0, attributes.st_size or 0, attributes.st_mtime or 0
    owner, group, atime = attributes.st_uid or 0, attributes.st_gid or 0, attributes.st_atime or mtime
    return os.stat_result((mode, 0, 0, 1, owner, group, size, atime, mtime, mtime))
