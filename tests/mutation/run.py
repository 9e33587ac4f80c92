"""Mutation testing of the module, by mutmut, held against equivalent.txt: the mutants that no test could tell from it.

    python tests/mutation/run.py [MUTANT...]      such as 'iamcacheauth.x_presign*', to test these again

Results are kept in mutants/; to start afresh, remove it. Exit status 1: a mutant lives that is not listed. Mutants
may ask addresses that the module never would, so all of it happens in a network namespace with only loopback.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
MUTMUT = str(Path(sys.executable).with_name("mutmut"))
RIGHTS = ["--map-root-user"] if os.geteuid() else []
NAMESPACE = ["unshare", "--net", *RIGHTS, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
DEAD = ("killed", "timeout", "check was interrupted by user")  # the last is what a KeyboardInterrupt looks like


def output(*arguments: str) -> str:
    return subprocess.run([MUTMUT, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def described(mutant: str) -> str:
    """Its function and what differs: the same after edits elsewhere, unlike its number."""
    function = re.sub("^x[_ǁ]|__mutmut_.*", "", mutant.partition(".")[2]).replace("ǁ", ".")
    changed = re.findall("^([-+]) *(.*)$", output("show", mutant).partition("@@")[2], re.MULTILINE)
    return "\n".join([function, *(f"{sign} {line}" for sign, line in changed)])


def listed() -> set[str]:
    """The indented paragraphs; the others say why."""
    paragraphs = re.findall(r"^    (.+(?:\n    .+)*)", EQUIVALENT.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"\n +", "\n", paragraph) for paragraph in paragraphs}


def main() -> int:
    environment = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true"}
    subprocess.run([*NAMESPACE, MUTMUT, "run", *sys.argv[1:]], cwd=ROOT, env=environment, check=True)
    statuses = dict(line.strip().rsplit(": ", 1) for line in output("results", "--all", "1").splitlines())
    tested = {mutant: status for mutant, status in statuses.items() if status != "not checked"}
    alive = {described(mutant): mutant for mutant, status in tested.items() if status not in DEAD}
    unlisted = alive.keys() - listed()
    for difference in sorted(unlisted):
        print(f"\n{alive[difference]}: {tested[alive[difference]]}\n{difference}")
    for difference in [] if sys.argv[1:] else sorted(listed() - alive.keys()):
        print(f"\nlisted, but not alive:\n{difference}")
    timeouts = sum(status == "timeout" for status in tested.values())
    print(f"\nOf {len(tested)} mutants {len(alive)} live, {len(unlisted)} of them unlisted; {timeouts} took too long.")
    return 1 if unlisted else 0


if __name__ == "__main__":
    sys.exit(main())
