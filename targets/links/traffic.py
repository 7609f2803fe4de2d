"""What passes a listening port of this machine, as the kernel counts it for each connection.

Source: sock_diag(7), and ``struct tcp_info`` in linux/tcp.h. It needs no privilege.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x1 | 0x100 | 0x200  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_DONE, _ERROR = 3, 2
_INFO = 2  # INET_DIAG_INFO
_OPEN = sum(1 << state for state in (1, 4, 5, 8, 9, 11))
"""TCP_ESTABLISHED, and what is being closed; not TCP_TIME_WAIT, which is over."""
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBB 2s2s 16s 16s I8s IIIII")
_ATTRIBUTE = struct.Struct("=HH")
_BYTES = struct.Struct("=QQ")
_BYTES_AT = 120
"""Where tcpi_bytes_acked stands in a tcp_info; tcpi_bytes_received follows."""


def connections(port: int) -> Iterator[tuple[str, int, int]]:
    """Each connection to a port that is open, the bytes that came and those that went back.

    Raises:
        OSError: the kernel does not tell (one without sock_diag).
    """
    question = struct.pack(
        "=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, _OPEN
    ) + struct.pack("!HH", port, 0) + bytes(16 + 16 + 4) + b"\xff" * 8  # fmt: skip
    header = _HEADER.pack(
        _HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0
    )  # fmt: skip
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(header + question)
        while True:
            answer = memoryview(kernel.recv(1 << 18))
            while answer:
                length, kind, *_ = _HEADER.unpack_from(answer)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
                    raise OSError(number, "the kernel does not tell of its connections")
                yield from _connection(bytes(answer[_HEADER.size : length]), port)
                answer = answer[(length + 3) & ~3 :]


def _connection(told: bytes, port: int) -> Iterator[tuple[str, int, int]]:
    fields = _MESSAGE.unpack_from(told)
    local, remote, address, cookie = fields[4], fields[5], fields[7], fields[9]
    if int.from_bytes(local) != port:
        return
    peer = f"{socket.inet_ntop(socket.AF_INET, address[:4])}:{int.from_bytes(remote)}"
    acknowledged = received = 0
    at = _MESSAGE.size
    while at + _ATTRIBUTE.size <= len(told):
        length, kind = _ATTRIBUTE.unpack_from(told, at)
        if length < _ATTRIBUTE.size:
            break
        if kind == _INFO and length >= _ATTRIBUTE.size + _BYTES_AT + _BYTES.size:
            acknowledged, received = _BYTES.unpack_from(told, at + _ATTRIBUTE.size + _BYTES_AT)
        at += (length + 3) & ~3
    yield f"{peer} {cookie.hex()}", received, acknowledged
