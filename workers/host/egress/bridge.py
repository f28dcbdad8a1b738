"""Stands before an agent behind walls without a network: hands its listening sockets to the worker, becomes the agent.

Run as `python -I -S bridge.py <socket> <ports> -- <argv>`. The sockets belong to the agent's network, the process that
answers them is the worker: so nothing of this stays behind, neither a process nor an open file.
"""

from __future__ import annotations

import _socket  # `socket` itself adds only enums, and they take longer to load than Python. So does `typing`.
import os
import sys

WAIT_S = 20.0
LOOPBACK = "127.0.0.1"
FAILED = 126


def main() -> None:
    """Become the agent, its environment naming the proxy."""
    path, ports, _, *argv = sys.argv[1:]
    try:
        proxy = listening(0)
        doors = [listening(int(port)) for port in ports.split(",") if port]
        hand_over(path, [proxy, *doors])
    except OSError as trouble:
        _fail(f"cannot reach the worker's proxy: {trouble.strerror or trouble}")
        return
    for name, value in _variables(proxy.getsockname()[1]).items():
        os.putenv(name, value)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - a shell is what we must not have here
    except OSError as trouble:
        _fail(f"{os.path.basename(argv[0])}: {trouble.strerror}")  # noqa: PTH119 - pathlib takes longer to import


def listening(port: int) -> _socket.socket:
    """A socket that listens on the agent's loopback; 0 takes a free port."""
    made = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    made.bind((LOOPBACK, port))
    made.listen(128)
    return made


def hand_over(path: str, sockets: list[_socket.socket]) -> None:
    """Give the worker the sockets, and wait until it serves them.

    Raises:
        OSError: nobody takes them.
    """
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    channel.settimeout(WAIT_S)
    channel.connect(path)
    numbers = b"".join(one.fileno().to_bytes(4, sys.byteorder) for one in sockets)
    channel.sendmsg([b"s"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
    if not channel.recv(1):
        raise OSError("it hung up")
    channel.close()


def _variables(port: int) -> dict[str, str]:
    proxy, loopback = f"http://{LOOPBACK}:{port}", f"localhost,{LOOPBACK},::1"
    # Programs differ in which case they read. The agent's own loopback is its own, so it needs no proxy to it.
    named = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "NO_PROXY": loopback}
    return named | {name.lower(): value for name, value in named.items()}


def _fail(problem: str) -> None:
    os.write(2, f"corral: {problem}\n".encode())
    os._exit(FAILED)


if __name__ == "__main__":
    main()
