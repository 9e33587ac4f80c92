"""The README's code, taken out of it and pointed at a gate."""

import pathlib
import re
import types

README = pathlib.Path(__file__).parents[2] / "README.md"
ENDPOINT = re.compile(r"\w+\.my-cache\.abc123\.use1\.cache\.amazonaws\.com")


def source(heading, number, gate):
    """The code block of that number under ``### heading``, on the lines on which the README has it."""
    text = README.read_text(encoding="utf-8")
    start = text.index(f"\n### {heading}\n") + 1
    end = re.compile(r"^##+ ", re.MULTILINE).search(text, start + 1).start()
    block = list(re.finditer(r"^```\w+\n(.*?)^```$", text[start:end], re.MULTILINE | re.DOTALL))[number]
    lines_before = text.count("\n", 0, start + block.start(1))
    return "\n" * lines_before + ENDPOINT.sub(gate.host, block[1]).replace("6379", str(gate.port))


def run(heading, number, gate):
    """The names that the block defines, as attributes."""
    names = {"__name__": "recipe"}
    exec(compile(source(heading, number, gate), README, "exec"), names)
    return types.SimpleNamespace(**names)
