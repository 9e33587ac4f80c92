"""Measure what a token costs, beside its floor and the peers that are installed, and print a table.

    python tests/bench/run.py [--json] [--quick]

The peers are in the dependency group "bench". What is compared runs in turns, so that whatever else
the machine does hits all of it, and every figure is a median. For POSIX systems.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import inspect
import itertools
import json
import os
import platform
import py_compile
import re
import shutil
import ssl
import string
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it may be missing there: see PYTHONSAFEPATH
from support.subject import iamcacheauth

KEYS = (
    "ASIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ("IQoJ" + 12 * (string.ascii_letters + string.digits + "+/"))[:720],
)
ENVIRONMENT = {
    **dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), KEYS)),
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
ROUNDS = 40
CALLS = 100  # of a token function, each round


class Row(NamedTuple):
    what: str
    unit: str
    ratio_to: str
    ratios: dict[str, float]
    values: dict[str, float]


def compared(what: str, unit: str, values: dict[str, float], base: str) -> Row:
    return Row(what, unit, base, {name: value / values[base] for name, value in values.items()}, values)


# --- what is compared ---
#
# Each function returns another that makes one token. Whole processes are given a function's source text,
# so each imports what it needs itself. keys: None for those of the environment.


def floor(keys=None):
    import hashlib
    import hmac
    import time

    canonical_request, key, string_to_sign = b"r" * 1063, b"k" * 32, b"s" * 130

    def token():
        hashlib.sha256(canonical_request).digest()
        hmac.digest(key, string_to_sign, "sha256")
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())

    return token


def ours(keys=None):
    from iamcacheauth import ElastiCacheAuth, StaticCredentials

    credentials = StaticCredentials(*keys) if keys else None
    return ElastiCacheAuth("my-iam-user", "my-cache", credentials=credentials).token


def botocore_signer(keys=None):
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from botocore.session import Session

    credentials = Credentials(*keys) if keys else Session().get_credentials()

    def token():
        request = AWSRequest("GET", "https://my-cache/?Action=connect&User=my-iam-user")
        frozen = credentials.get_frozen_credentials()
        SigV4QueryAuth(frozen, "elasticache", "us-east-1", expires=900).add_auth(request)
        return request.url[len("https://") :]

    return token


def redis_py_recipe(keys=None):
    """The way of redis-py's documentation, without its cache of 15 minutes."""
    from urllib.parse import ParseResult, urlencode, urlunparse

    from botocore.credentials import Credentials
    from botocore.model import ServiceId
    from botocore.session import Session
    from botocore.signers import RequestSigner

    session = Session()
    credentials = Credentials(*keys) if keys else session.get_credentials()
    events = session.get_component("event_emitter")
    signer = RequestSigner(ServiceId("elasticache"), "us-east-1", "elasticache", "v4", credentials, events)

    def token():
        query = urlencode({"Action": "connect", "User": "my-iam-user"})
        url = urlunparse(ParseResult("https", "my-cache", "/", "", query, ""))
        request = {"method": "GET", "url": url, "body": {}, "headers": {}, "context": {}}
        signed = signer.generate_presigned_url(request, "connect", expires_in=900, region_name="us-east-1")
        return signed[len("https://") :]

    token.session = session  # the signer itself holds a part of it only weakly
    return token


def developer_toolkit(keys=None):
    from botocore.credentials import Credentials
    from developer_toolkit_elasticache import ElastiCacheIAMAuthTokenProvider

    return ElastiCacheIAMAuthTokenProvider(
        user_id="my-iam-user",
        region="us-east-1",
        replication_group_id="my-cache",
        credentials=Credentials(*keys) if keys else None,
    ).get_token


PEERS = {  # with the distribution that each one needs
    "botocore": (botocore_signer, "botocore"),
    "redis-py's recipe": (redis_py_recipe, "botocore"),
    "developer toolkit": (developer_toolkit, "developer-toolkit-elasticache"),
}


# --- whole processes ---


def process_rows(makers: dict[str, Callable], rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        compiled, plain = Path(folder, "compiled"), Path(folder, "plain")
        for place in (compiled, plain):
            place.mkdir()
            shutil.copyfile(iamcacheauth.__file__, place / "iamcacheauth.py")
        py_compile.compile(str(compiled / "iamcacheauth.py"))
        for file in {file for name in makers.keys() & PEERS for file in installed_files(PEERS[name][1])}:
            if file.suffix != ".pyc":
                (plain / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), plain / file)
        yield from cold_start_rows("cold start, bytecode cached", makers, str(compiled), [], rounds)
        yield from cold_start_rows("cold start, no bytecode", makers, str(plain), ["-B"], rounds)
        yield memory_row(makers, str(compiled), rounds)
        yield size_row(makers, compiled)


def cold_start_rows(
    what: str, makers: dict[str, Callable], folder: str, options: list[str], rounds: int
) -> Iterator[Row]:
    """With the same options for all, and less what the interpreter takes to do nothing."""
    programs = {"bare": "pass", **{name: program(maker, folder) for name, maker in makers.items()}}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for turn in range(-1, rounds):
        for name, text in programs.items():
            if name in PEERS and turn > 0 and turn % 4:
                continue  # they take so much longer that fewer will do
            taken = run(["-I", *options, "-c", text])
            if turn >= 0:  # the first one only fills caches
                times[name].append(taken)
    for clock, label in enumerate((", processor time", ", wall time")):
        medians = {name: median(taken[clock] for taken in times[name]) * 1e3 for name in programs}
        bare = medians.pop("bare")
        yield compared(what + label, "ms", {name: value - bare for name, value in medians.items()}, "floor")


def program(maker: Callable, folder: str) -> str:
    return f"import sys\nsys.path.insert(0, {folder!r})\n{inspect.getsource(maker)}\n{maker.__name__}()()\n"


def run(arguments: list[str]) -> tuple[float, float]:
    """Processor time and wall time of a whole process, in seconds."""
    started = time.perf_counter()
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - started
    if status:
        raise SystemExit("bench: a process that was to be measured failed")
    return usage.ru_utime + usage.ru_stime, wall


def memory_row(makers: dict[str, Callable], folder: str, rounds: int) -> Row:
    peaks: dict[str, list[int]] = {name: [] for name in makers}
    for _ in range(max(1, rounds // 4)):
        for name, maker in makers.items():
            text = f"{program(maker, folder)}\n{inspect.getsource(print_peak_memory)}\nprint_peak_memory()"
            done = subprocess.run([sys.executable, "-I", "-c", text], stdout=subprocess.PIPE, check=True)
            peaks[name].append(int(done.stdout))
    base = median(peaks["floor"])
    values = {name: (median(peak) - base) / 1024 for name, peak in peaks.items() if name != "floor"}
    return compared("memory", "MiB", values, "iamcacheauth")


def print_peak_memory():
    try:  # on Linux, the ru_maxrss of a process counts in that of the one that started it
        with open("/proc/self/status") as status:
            print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
    except OSError:
        import resource

        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)  # bytes on macOS


# --- size ---


def size_row(makers: dict[str, Callable], folder: Path) -> Row:
    files = {"iamcacheauth": [path for path in folder.rglob("*") if path.is_file()]}
    for name in makers.keys() & PEERS:
        files[name] = [Path(file.locate()) for file in installed_files(PEERS[name][1])]
    sizes = {name: sum(path.stat().st_blocks for path in paths) / 2 for name, paths in files.items()}  # of 512 bytes
    return compared("size on disk", "KiB", sizes, "iamcacheauth")


def installed_files(name: str) -> list[importlib.metadata.PackagePath]:
    """What was installed of a distribution and of all that it depends on, scripts left out."""
    files, wanted, seen = [], [name], set()
    while wanted:
        name = wanted.pop()
        if name in seen or not version(name):
            continue
        seen.add(name)
        distribution = importlib.metadata.distribution(name)
        files += [file for file in distribution.files or [] if ".." not in file.parts and file.locate().is_file()]
        requirements = [text for text in distribution.requires or [] if "extra ==" not in text]
        wanted += [re.split(r"[^\w.-]", text)[0] for text in requirements]
    return files


def version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


# --- tokens ---


def token_rows(makers: dict[str, Callable], rounds: int) -> Iterator[Row]:
    """Processor time, which leaves out what other processes take."""
    rows = {
        "token, static keys": {name: maker(KEYS) for name, maker in makers.items()},
        "token, environment keys": {name: maker() for name, maker in makers.items()},
        "first token of new keys": {"floor": floor(), "iamcacheauth": first_token_of_new_keys()},
    }
    refuse_differences(rows["token, environment keys"])
    times: dict[tuple[str, str], list[float]] = {(what, name): [] for what in rows for name in rows[what]}
    for _ in range(rounds):
        for (what, name), taken in times.items():
            taken.append(timeit.timeit(rows[what][name], timer=time.process_time, number=CALLS) / CALLS * 1e6)
    for what in rows:
        yield compared(what, "µs", {name: median(times[what, name]) for name in rows[what]}, "floor")


def first_token_of_new_keys() -> Callable[[], str]:
    """The variables hold another set of keys at every call."""
    environ: dict[str, str] = {}
    credentials = iamcacheauth.EnvironmentCredentials(environ)
    auth = iamcacheauth.ElastiCacheAuth("my-iam-user", "my-cache", credentials=credentials)
    sets = itertools.cycle({**ENVIRONMENT, "AWS_ACCESS_KEY_ID": f"ASIAIOSFODNN{digit}EXAMPLE"} for digit in "67")

    def token() -> str:
        environ.update(next(sets))
        return auth.token()

    return token


def refuse_differences(tokens: dict[str, Callable[[], str]]) -> None:
    """What is compared must do the same: sign the same token in the same second."""
    signed = {name: token for name, token in tokens.items() if name != "floor"}
    dates, made = {""}, {""}
    while len(dates) > 1 or "" in dates:
        made = {token() for token in signed.values()}
        dates = {token.partition("X-Amz-Date=")[2][:16] for token in made}
    if len(made) > 1:
        raise SystemExit(f"bench: these do not sign the same token: {', '.join(signed)}")


# --- load ---


def load_rows(rounds: int) -> Iterator[Row]:
    """Many callers of one generator whose credentials are being renewed all the time, and of the floor."""
    steady, renewing = Ageing(ages=False), Ageing(ages=True)
    bare = floor()

    async def bare_async() -> str:
        return bare()

    threads = {"floor": (bare, bare), "iamcacheauth": (steady.token, renewing.token)}
    tasks = {"floor": (bare, bare_async), "iamcacheauth": (steady.token, renewing.token_async)}
    with mock.patch.object(time, "time", Ageing.clock):
        yield from crowd_rows("64 threads", run_threads, 64, threads, rounds)
        yield from crowd_rows("1,000 tasks", run_tasks, 1000, tasks, rounds)


class Ageing:
    """A generator with fetched credentials, other keys at every fetch.

    If it ages, the clock goes on by most of an hour whenever a token was signed with keys that were just fetched for an
    hour: they are due for renewal again, and still valid.
    """

    ahead = 0.0
    real = time.time

    @classmethod
    def clock(cls) -> float:
        return cls.real() + cls.ahead

    def __init__(self, *, ages: bool) -> None:
        self.numbers = itertools.count()
        self.fresh: list[str] = []
        self.lifetime = 3600 if ages else 10**9
        self.ages = ages
        credentials = iamcacheauth.RefreshingCredentials(self.fetch)
        self.auth = iamcacheauth.ElastiCacheAuth("my-iam-user", "my-cache", credentials=credentials)

    def fetch(self) -> Any:
        time.sleep(0.01)
        access_key = f"ASIA{next(self.numbers):09}EXAMPLE"
        if self.ages:
            self.fresh.append(access_key)
        return iamcacheauth.StaticCredentials(access_key, *KEYS[1:], time.time() + self.lifetime)

    def token(self) -> str:
        return self.aged(self.auth.token())

    async def token_async(self) -> str:
        return self.aged(await self.auth.token_async())

    def aged(self, token: str) -> str:
        if self.fresh and self.fresh[0] in token:
            with contextlib.suppress(IndexError):  # another caller was faster
                self.fresh.pop(0)
                Ageing.ahead += 2800
        return token


def crowd_rows(
    crowd: str, run: Callable, size: int, tokens: dict[str, tuple[Callable, Callable]], rounds: int
) -> Iterator[Row]:
    """tokens: by name, what one thread calls alone and what the crowd calls."""
    seen: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in tokens}
    for _, name in itertools.product(range(max(1, rounds // 4)), tokens):
        alone, together = tokens[name]
        single, _ = run_threads(alone, 1, 1000 * rounds, time.perf_counter)
        figures = []
        for clock in (time.perf_counter, time.thread_time):
            each, durations = run(together, size, 1000 * rounds, clock)
            figures += [(each, single), (durations[-1], median(durations))]
        seen[name].append(figures)
    for place, figure, base in (
        (0, "per token", "one thread"),
        (1, "longest call", "median call"),
        (3, "most work in a call", "median call"),
    ):
        pairs = {name: [figures[place] for figures in found] for name, found in seen.items()}
        ratios = {name: median(value / reference for value, reference in found) for name, found in pairs.items()}
        values = {name: median(value for value, _ in found) * 1e6 for name, found in pairs.items()}
        yield Row(f"{crowd}, {figure}", "µs", base, ratios, values)


def run_threads(token: Callable, size: int, calls: int, clock: Callable[[], float]) -> tuple[float, list[float]]:
    """Seconds per token of all together, and how long the calls took by ``clock``, the longest last."""
    durations: list[float] = []
    work = iter(range(calls))  # whoever is free takes the next one

    def caller() -> None:
        for _ in work:
            started = clock()
            token()
            durations.append(clock() - started)

    threads = [threading.Thread(target=caller) for _ in range(size)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - started) / len(durations), sorted(durations)


def run_tasks(token: Callable, size: int, calls: int, clock: Callable[[], float]) -> tuple[float, list[float]]:
    durations: list[float] = []
    work = iter(range(calls))

    async def caller() -> None:
        for call in work:
            started = clock()
            await token()
            durations.append(clock() - started)
            if call % 10 == 0:
                await asyncio.sleep(0)  # let another one go on

    async def crowd() -> None:
        await asyncio.gather(*(caller() for _ in range(size)))

    started = time.perf_counter()
    asyncio.run(crowd())
    return (time.perf_counter() - started) / len(durations), sorted(durations)


# --- report ---

NOTES = """\
Cold start: import and first token from environment keys in a whole process (-I), less the bare interpreter.
No bytecode: of the file and of the peers with what they depend on; the standard library has its own.
Floor: import hashlib, hmac, time; SHA-256 of 1,063 bytes, HMAC-SHA-256 of 130 bytes, one timestamp.
Tokens: processor time; keys have a session token of 720 characters.
Memory: peak resident size, less that of the floor's process. Size: as du counts, with bytecode and dependencies.
Threads and tasks: one generator, whose credentials are being renewed all the time, 10 ms each. Work: processor
time of the call's own thread."""


def measure(rounds: int) -> dict[str, Any]:
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[variable]
    os.environ.update(ENVIRONMENT)
    versions = {distribution: version(distribution) for _, distribution in PEERS.values()}
    makers = {"floor": floor, "iamcacheauth": ours}
    makers.update({name: maker for name, (maker, distribution) in PEERS.items() if versions[distribution]})
    rows = [
        *process_rows(makers, rounds),
        *token_rows(makers, rounds),
        *load_rows(rounds),
    ]
    return {
        "date": f"{time.strftime('%Y-%m-%d', time.gmtime())}, rounds: {rounds}",
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "versions": {"iamcacheauth": iamcacheauth.__version__, **versions},
        "rows": [row._asdict() for row in rows],
    }


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def rendered(result: dict[str, Any]) -> str:
    """The ratios first, then what they are made of, as Markdown."""
    versions = result["versions"]
    names = ["iamcacheauth", "floor", *(name for name, (_, distribution) in PEERS.items() if versions[distribution])]
    ratios, values = [["ratio", *names, "to"]], [["median", *names]]
    for row in result["rows"]:
        ratios.append([row["what"], *cells(row["ratios"], names, ""), row["ratio_to"]])
        values.append([row["what"], *cells(row["values"], names, f" {row['unit']}")])
    subjects = "\n".join(f"{name} {found or 'is not installed: no comparison'}" for name, found in versions.items())
    place = "\n".join(result[line] for line in ("machine", "system", "python", "date"))
    return "\n\n".join([f"{subjects}\n{place}", markdown(ratios), markdown(values), NOTES])


def cells(figures: dict[str, float], names: list[str], unit: str) -> list[str]:
    return [f"{rounded(figures[name])}{unit}" if name in figures else "" for name in names]


def rounded(figure: float) -> str:
    return f"{figure:,.{0 if figure >= 100 else 1 if figure >= 10 else 2}f}"


def markdown(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [[cell.ljust(width) for cell, width in zip(line, widths)] for line in table]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a token costs, beside its floor and its peers.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--quick", action="store_true", help="one round of everything: it shows that all works, not how fast"
    )
    options = parser.parse_args()
    result = measure(1 if options.quick else ROUNDS)
    print(json.dumps(result, indent=2) if options.json else rendered(result))


if __name__ == "__main__":
    main()
