"""A local MCP server over stdio with one tool, `pick`: JSON-RPC, a message a line, as the MCP specification has it.

Started by the agent itself; says which fruit it picked and whether it was given its key.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

TOOL = {
    "name": "pick",
    "description": "Picks a fruit.",
    "inputSchema": {"type": "object", "properties": {"fruit": {"type": "string"}}, "required": ["fruit"]},
}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a request; None: there is no such method."""
    match method:
        case "initialize":
            info = {"name": "orchard", "version": "1.0"}
            return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return {"tools": [TOOL]}
        case "tools/call":
            text = f"picked a {params['arguments']['fruit']} with key {os.environ.get('ORCHARD_KEY', 'none')}"
            return {"content": [{"type": "text", "text": text}]}
        case "ping":
            return {}
        case _:
            return None


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        result = answer(message["method"], message.get("params") or {})
        said = {"error": {"code": -32601, "message": "no such method"}} if result is None else {"result": result}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
