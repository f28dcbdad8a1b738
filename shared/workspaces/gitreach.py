"""How git reaches a server: one address that was looked at, one protocol, that server's credentials and no other's."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

from shared.domain.errors_git import GitFailed
from shared.domain.git import PORTS, GitRules, Remote
from shared.workspaces.gitcmd import Reach

ASKPASS = """#!/bin/sh
# Answers git's questions for a user name and a password. The token never is an argument.
case "$1" in
  Username*) printf '%s\\n' "$CORRAL_ASKPASS_USER" ;;
  *) printf '%s\\n' "$CORRAL_ASKPASS_TOKEN" ;;
esac
"""


def reach(rules: GitRules, remote: Remote, askpass: Path) -> Reach:
    """How git reaches `remote`. `askpass` is a program that holds `ASKPASS`.

    Raises:
        GitFailed: the host has no address, or one that may not be reached.
    """
    address = _address(rules, remote)
    if remote.scheme == "ssh":
        return Reach("ssh", env={"GIT_SSH_COMMAND": _ssh(rules, remote, address), "GIT_SSH_VARIANT": "ssh"})
    # Whatever a name leads to a moment later, git goes where we looked (git 2.37 and newer), and nowhere else.
    pinned = f"[{address}]" if ":" in address else address
    config = [
        f"http.curloptResolve={remote.host}:{remote.port}:{pinned}",
        "http.followRedirects=false",
        "http.lowSpeedLimit=1000",
        "http.lowSpeedTime=30",
    ]
    if rules.ca_file is not None:
        config.append(f"http.sslCAInfo={rules.ca_file}")
    user, _, token = rules.tokens.get(remote.place, "").rpartition(":")
    if not token:
        return Reach("https", config)
    env = {"GIT_ASKPASS": str(askpass), "CORRAL_ASKPASS_USER": user or "x-access-token"}
    return Reach("https", config, {**env, "CORRAL_ASKPASS_TOKEN": token})


def _address(rules: GitRules, remote: Remote) -> str:
    try:
        found = socket.getaddrinfo(remote.host, remote.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as trouble:
        raise GitFailed("clone", "the host's name is unknown") from trouble
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if (why := rules.addresses.refusal(address, remote.port)) is not None:
            raise GitFailed("clone", f"the host may not be reached: {why}")
    if not addresses:
        raise GitFailed("clone", "the host's name is unknown")
    return addresses[0]


def _ssh(rules: GitRules, remote: Remote, address: str) -> str:
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(rules.known_hosts or "/dev/null"),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": str(rules.ssh_key or "none"),
        "ConnectTimeout": "20",
        "HostName": address,
        "HostKeyAlias": remote.place if remote.port == PORTS["ssh"] else f"[{remote.host}]:{remote.port}",
        "CheckHostIP": "no",
        "ProxyCommand": "none",
        "PermitLocalCommand": "no",
    }
    return shlex.join(["ssh", "-F", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())])
