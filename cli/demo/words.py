"""Every word of the demo agent's script language, with its arguments and its help."""

from __future__ import annotations

from collections.abc import Mapping

from cli.demo import faults, talk, tools
from cli.demo.script import Arg, Word, decimal, line, usage, whole

_TEXT = Arg("text", line)
_PATH = Arg("path", str)
_FILE = Arg("file", str)

WORDS: Mapping[str, Word] = {
    "say": Word(talk.say, "say it in one piece", (_TEXT,)),
    "think": Word(talk.think, "think it aloud", (_TEXT,)),
    "stream": Word(talk.stream, "say n pieces, delay_ms apart (20)", (Arg("n", whole), Arg("delay_ms", decimal, 20.0))),
    "flood": Word(
        talk.flood,
        "n chunks of tool output as fast as the host reads, of bytes (64) each",
        (Arg("n", whole), Arg("bytes", whole, 64)),
    ),
    "rate": Word(
        talk.rate, "chunks of tool output at an even pace", (Arg("events_per_s", decimal), Arg("seconds", decimal))
    ),
    "write": Word(tools.write, "write a file of the workspace", (_PATH, Arg("text", line, ""))),
    "append": Word(tools.append, "add a line to a file of the workspace", (_PATH, Arg("text", line, ""))),
    "read": Word(tools.read, "read a file of the workspace", (_PATH,)),
    "delete": Word(tools.delete, "remove a file of the workspace", (_PATH,)),
    "run": Word(tools.run, "run it with sh -c; asks a permission in interactive mode", (Arg("shell command", str),)),
    "fetch": Word(tools.fetch, "get an http or https address, through a proxy where there is one", (Arg("url", str),)),
    "permission": Word(
        tools.permission,
        "ask to use a tool (not in bypass mode, nor one allowed always) and say with which input it was allowed",
        (Arg("tool", str), Arg("json or text", str, "{}")),
    ),
    "ask": Word(talk.ask, "ask a question: ask Which? | this | that", (Arg("question | option | …", str),)),
    "ask-many": Word(talk.ask_many, "the same, taking several options", (Arg("question | option | …", str),)),
    "plan": Word(talk.plan, "propose a plan; rejected, the turn ends with the feedback", (_TEXT,)),
    "todo": Word(talk.todo, "show a to-do list and tick it off", (Arg("a, b, c", str),)),
    "mode": Word(talk.mode, "say the mode"),
    "model": Word(talk.model, "say the model"),
    "clock": Word(talk.clock, "say the time in nanoseconds since 1970, to measure who delays what"),
    "recall": Word(talk.recall, "quote the prompt of turn n (1)", (Arg("n", whole, 1),)),
    "retry": Word(talk.retry, "report n retries, delay_s apart (0)", (Arg("n", whole), Arg("delay_s", decimal, 0.0))),
    "usage": Word(
        talk.usage,
        "report these tokens and this cost for the turn",
        (Arg("in", whole), Arg("out", whole), Arg("cost_usd", decimal)),
    ),
    "tokens": Word(
        talk.tokens,
        "report these tokens at once, and no cost",
        (Arg("in", whole), Arg("out", whole)),
    ),
    "sleep": Word(talk.sleep, "do nothing for a while", (Arg("seconds", decimal),)),
    "heed": Word(talk.heed, "wait until steered, for this long at most (60)", (Arg("seconds", decimal, 60.0),)),
    "error": Word(talk.error, "fail the turn", (_TEXT,)),
    "exit": Word(faults.leave, "end the turn well, then leave with this code (0)", (Arg("code", whole, 0),)),
    "stderr": Word(faults.stderr, "write a line to stderr", (_TEXT,)),
    "count": Word(
        tools.count,
        "write a growing number to a file every every_ms (50), until interrupted or the host goes",
        (_FILE, Arg("every_ms", decimal, 50.0)),
    ),
    "crash": Word(
        faults.crash,
        "end at once with this exit code or by this signal (1)",
        (Arg("code|signal", faults.how_to_crash, "1"),),
    ),
    "hang": Word(faults.hang, "do nothing, deaf to interrupts, until the host goes"),
    "ignore-interrupt": Word(faults.ignore_interrupt, "be deaf to interrupts for the rest of the turn"),
    "ignore-term": Word(
        faults.ignore_term, "from now on ignore SIGTERM, SIGINT, SIGHUP and the end of stdin (for 15 minutes at most)"
    ),
    "orphan": Word(
        faults.orphan,
        "leave a grandchild behind in its own session that counts in a file (for 15 minutes at most)",
        (_FILE,),
    ),
    "orphan-holding": Word(faults.orphan_holding, "the same, and it keeps the agent's stdout open", (_FILE,)),
    "garbage": Word(faults.garbage, "print bad UTF-8, NUL, bad JSON, unknown and malformed frames, half lines"),
    "long": Word(faults.long, "print one message whose line has this many bytes", (Arg("bytes", whole),)),
    "long-ask": Word(faults.long_ask, "ask a permission with an input of this many bytes", (Arg("bytes", whole),)),
    "unfinished": Word(faults.unfinished, "end the turn well, then leave without the last newline"),
}


def listed() -> str:
    """All words with their help, one a line."""
    usages = {usage(name, word): word.help for name, word in WORDS.items()}
    width = max(len(text) for text in usages)
    return "\n".join(f"  {text.ljust(width)}  {what}" for text, what in usages.items())
