"""The README's code, taken out of it and pointed at a gate."""

import pathlib
import re
import types

README = pathlib.Path(__file__).parents[2] / "README.md"
ENDPOINT = re.compile(r"\w+\.my-cache\.abc123\.use1\.cache\.amazonaws\.com")


def block(heading, number, gate):
    """The code block of that number under a heading, on the lines on which the README has it."""
    text = README.read_text(encoding="utf-8")
    found = list(re.finditer(r"^```\w+\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL))[number]
    lines_before = text.count("\n", 0, text.index(section(heading)) + found.start(1))
    return "\n" * lines_before + pointed_at(gate, found[1])


def table_line(heading, first, gate):
    """The code in the second column of the row that begins with ``first``."""
    (code,) = re.findall(rf"^\| {re.escape(first)}\b[^|]* \| `([^`]*)`", section(heading), re.MULTILINE)
    return pointed_at(gate, code)


def section(heading):
    """The text under a heading, up to the next one; headings that are not the title begin with two signs at least."""
    text = README.read_text(encoding="utf-8")
    start = re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE).end()
    return re.split(r"^##+ ", text[start:], maxsplit=1, flags=re.MULTILINE)[0]


def pointed_at(gate, code):
    return ENDPOINT.sub(gate.host, code).replace("6379", str(gate.port))


def run(heading, number, gate):
    """The names that a block defines, as attributes."""
    names = {"__name__": "recipe"}
    exec(compile(block(heading, number, gate), README, "exec"), names)
    return types.SimpleNamespace(**names)
