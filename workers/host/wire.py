"""The words between host and warden: one message a packet, with descriptors beside it.

A body too large for a packet travels as a file in memory, so every packet is small, whole and sent at once.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct

PACKET_BYTES = 16 * 1024
DESCRIPTORS = 8
"""The most one packet carries."""

_NUMBER = struct.Struct("i")
_BESIDE_BYTES = socket.CMSG_LEN(DESCRIPTORS * _NUMBER.size)

Message = dict[str, object]
"""Texts, whole numbers, lists and mappings of them. `marshal` carries these at half a megabyte less than json."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep packets apart and tell the end of the other side's life."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: Message, descriptors: list[int]) -> None:
    """Send one message. The descriptors stay open here.

    Raises:
        BlockingIOError: the other side reads too slowly; nothing was sent.
        OSError: the other side is gone.
    """
    body = marshal.dumps(message)
    if len(body) <= PACKET_BYTES:
        socket.send_fds(channel, [body], descriptors, socket.MSG_NOSIGNAL)
        return
    file = os.memfd_create("corral-message", os.MFD_CLOEXEC)
    try:
        left = memoryview(body)
        while left:
            left = left[os.write(file, left) :]
        socket.send_fds(channel, [b"+"], [file, *descriptors], socket.MSG_NOSIGNAL)
    finally:
        os.close(file)


def receive(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and its descriptors, which are the caller's to close; None when the other side is gone.

    Raises:
        BlockingIOError: nothing has come.
    """
    try:
        # Not socket.recv_fds: it drops its flags (Python 3.11), and every program started later would inherit these.
        body, beside, _, _ = channel.recvmsg(PACKET_BYTES, _BESIDE_BYTES, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    descriptors = [number for _, _, data in beside for (number,) in _NUMBER.iter_unpack(data)]
    if not body:
        return None
    if body == b"+":
        file = descriptors.pop(0)
        try:
            body = _whole(file)
        finally:
            os.close(file)
    # Both ends run the same interpreter from the same files, and nobody else holds the socket.
    return marshal.loads(body), descriptors  # noqa: S302


def _whole(file: int) -> bytes:
    size = os.fstat(file).st_size
    parts = []
    at = 0
    while at < size and (part := os.pread(file, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)
