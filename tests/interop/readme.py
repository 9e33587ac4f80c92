"""The README's code, taken out of it and pointed at a gate."""

import pathlib
import re
import types

README = pathlib.Path(__file__).parents[2] / "README.md"
ENDPOINT = re.compile(r"[\w-]+(\.my-cache\.abc123|-abc123\.serverless)\.use1\.cache\.amazonaws\.com")


def block(heading, number, gate):
    """The code block of that number under a heading, on the lines on which the README has it."""
    text = README.read_text(encoding="utf-8")
    found = list(re.finditer(r"^```\w+\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL))[number]
    lines_before = text.count("\n", 0, text.index(section(heading)) + found.start(1))
    return "\n" * lines_before + pointed_at(gate, found[1])


def table_line(heading, first, column, gate):
    """The code in that column of the row that begins with ``first``, or what else stands there."""
    (row,) = re.findall(rf"^\| {re.escape(first)}\b.*$", section(heading), re.MULTILINE)
    cell = row.split(" | ")[column]
    code = re.match(r"`([^`]*)`", cell)
    return pointed_at(gate, code[1]) if gate and code else cell.strip(" |")


def section(heading):
    """The text under a heading, up to the next one; headings that are not the title begin with two signs at least."""
    text = README.read_text(encoding="utf-8")
    start = re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE).end()
    return re.split(r"^##+ ", text[start:], maxsplit=1, flags=re.MULTILINE)[0]


def pointed_at(gate, code):
    """The code with the gate's address in the place of the endpoint, out of which it still reads the cache's name."""
    code = ENDPOINT.sub(gate.host, code).replace("6379", str(gate.port))
    return code.replace('"my-iam-user", endpoint', f'"my-iam-user", "{endpoint(gate.cache)}"')


def endpoint(cache):
    """What AWS would call it."""
    if cache.serverless:
        return f"{cache.name}-abc123.serverless.use1.cache.amazonaws.com"
    if cache.service == "memorydb":
        return f"clustercfg.{cache.name}.abc123.memorydb.us-east-1.amazonaws.com"
    return f"master.{cache.name}.abc123.use1.cache.amazonaws.com"


def run(heading, number, gate, edit=lambda code: code, **names):
    """The names that a block defines, as attributes. ``edit`` changes its text before; ``names`` are there already."""
    names["__name__"] = "recipe"
    exec(compile(edit(block(heading, number, gate)), README, "exec"), names)
    return types.SimpleNamespace(**names)
