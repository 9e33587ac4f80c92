"""Record what botocore signs into the JSON files beside this one, or compare botocore with the module.

    python vectors/record.py                 write the files; a file that would say the same is left alone
    python vectors/record.py --check         record again and compare with the files
    python vectors/record.py --fuzz 20000    sign random inputs with botocore and with the module

Needs the one botocore that pyproject.toml's dependency group "vectors" names. Recording never imports
the module: every value comes out of botocore's own steps. Exit status 0: no difference. 1: a
difference. 2: wrong usage, or not that botocore.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import ipaddress
import itertools
import json
import multiprocessing
import os
import platform
import random
import re
import string
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
PIN = re.compile(r'"botocore==([^"]+)"')  # tomllib would read it too, but only from Python 3.11 on

try:
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials
except ImportError:
    print("record.py: botocore is wanted, as in pyproject.toml's dependency group 'vectors'", file=sys.stderr)
    sys.exit(2)

sys.path.insert(0, str(HERE))
import cases  # noqa: E402
from cases import Json  # noqa: E402

# --- botocore, observed ---


class ObservedAuth(botocore.auth.SigV4QueryAuth):
    """botocore's signer, unchanged, that remembers what its steps made."""

    def canonical_request(self, request: AWSRequest) -> str:
        self.observed_request = super().canonical_request(request)
        return self.observed_request

    def string_to_sign(self, request: AWSRequest, canonical_request: str) -> str:
        self.observed_string = super().string_to_sign(request, canonical_request)
        return self.observed_string

    def signature(self, string_to_sign: str, request: AWSRequest) -> str:
        self.observed_keys: list[bytes] = []
        return super().signature(string_to_sign, request)

    def _sign(self, key: bytes, msg: str, hex: bool = False) -> Any:
        self.observed_keys.append(key)  # "AWS4" and the secret, kDate, kRegion, kService, kSigning
        return super()._sign(key, msg, hex)


def signer_of(given: Json, expires: int = 900) -> ObservedAuth:
    credentials = ReadOnlyCredentials(given.get("access_key"), given["secret_key"], given.get("session_token") or None)
    return ObservedAuth(credentials, given["service"], given["region"], expires=expires)


def sign(given: Json, host: str, params: Iterable[tuple[str, str]], expires: int = 900) -> tuple[ObservedAuth, str]:
    """Let botocore presign ``GET https://host/?params``; return its signer and the URL without the scheme."""
    moment = datetime.strptime(given["timestamp"], cases.TIMESTAMP).replace(microsecond=999_999)
    botocore.auth.get_current_datetime = lambda: moment  # its only clock; the fraction must make no difference
    signer = signer_of(given, expires)
    request = AWSRequest(method="GET", url=f"https://{host}/", params=dict(params))
    signer.add_auth(request)
    return signer, request.url[len("https://") :]


def token_request(given: Json) -> tuple[str, list[tuple[str, str]]]:
    """The host and the parameters that a token signs, from what the user passed."""
    params = [("Action", "connect"), ("User", given["user"].lower())]
    if given["serverless"]:
        params.append(("ResourceType", "ServerlessCache"))
    return given["name"].lower(), params


def url_request(given: Json) -> tuple[str, list[tuple[str, str]], int]:
    return given["host"], given["params"], given["expires"]


def record_token(case: Json) -> Json:
    signer, token = sign(case["input"], *token_request(case["input"]))
    return {**case, **steps_of(signer), "token": token}


def record_url(case: Json) -> Json:
    signer, url = sign(case["input"], *url_request(case["input"]))
    return {**case, **steps_of(signer), "url": url}


def steps_of(signer: ObservedAuth) -> Json:
    return {
        "canonical_request": signer.observed_request.split("\n"),
        "string_to_sign": signer.observed_string.split("\n"),
        "signing_key": signer.observed_keys[-1].hex(),
    }


def record_query(case: Json) -> Json:
    request = AWSRequest(url="https://example.amazonaws.com/", params=case["input"]["params"])
    signer = botocore.auth.SigV4Auth(None, "service", "region")
    return {**case, "canonical_query": signer.canonical_query_string(request)}


def confirm_key(case: Json) -> Json:
    """The case as AWS publishes it, if botocore agrees."""
    request = AWSRequest()
    request.context["timestamp"] = case["input"]["date"]
    signer = signer_of(case["input"])
    signer.signature("", request)
    derived = [key.hex() for key in signer.observed_keys]
    published = [*(key for _, key in case["steps"]), case["signing_key"]]
    if derived[-len(published) :] != published:
        sys.exit(f"record.py: botocore does not agree with AWS's published example {case['id']}")
    return case


# --- files ---

LINES = "canonical_request and string_to_sign are given as lines, to be joined with a line feed."
FILES = {
    "tokens_regions.json": ("Tokens in every region that botocore knows. " + LINES, record_token, cases.regions),
    "tokens_credentials.json": ("Tokens by permanent and by temporary keys. " + LINES, record_token, cases.credentials),
    "tokens_users.json": (
        "Tokens for all sorts of users that AWS allows. What it does not allow is signed in presign.json. " + LINES,
        record_token,
        cases.users,
    ),
    "tokens_names.json": ("Tokens for all sorts of cache and cluster names. " + LINES, record_token, cases.names),
    "tokens_dates.json": ("Tokens at the turn of days, months and years. " + LINES, record_token, cases.dates),
    "presign.json": (
        "Presigned URLs of any service, host and parameters, and of logins by users that AWS cannot have. " + LINES,
        record_url,
        cases.urls,
    ),
    "canonical_query.json": (
        "Canonical queries by SigV4Auth.canonical_query_string, which keeps repeated names; SigV4QueryAuth, which"
        " signs everything else here, drops them.",
        record_query,
        cases.queries,
    ),
    "signing_key.json": (
        "Signing keys as AWS publishes them, not recorded; botocore agrees with each.",
        confirm_key,
        cases.published_keys,
    ),
}
UNCOMPARED = {"provenance python", "provenance recorded"}


def recording(name: str) -> Json:
    comment, record, inputs = FILES[name]
    provenance = {
        "generator": "vectors/record.py",
        "botocore": botocore.__version__,
        "python": platform.python_version(),
        "recorded": date.today().isoformat(),
    }
    return {"comment": comment, "provenance": provenance, "cases": [record(case) for case in inputs()]}


def as_text(document: Json) -> str:
    """JSON in ASCII, which no editor normalises, and with each name-value pair on one line."""
    text = json.dumps(document, indent=2)
    return re.sub(r'\[\s+("(?:[^"\\]|\\.)*"),\s+("(?:[^"\\]|\\.)*")\s+\]', r"[\1, \2]", text) + "\n"


def differences(name: str) -> Iterator[str]:
    try:
        text = (HERE / name).read_text("utf-8")
        stored = json.loads(text)
        old = dict(facts(stored))
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{name}: not as record.py writes it: {error!r}"
        return
    new = dict(facts(json.loads(as_text(recording(name)))))
    for fact in sorted((old.keys() | new.keys()) - UNCOMPARED):
        if old.get(fact) != new.get(fact):
            yield f"{name}: {fact}: not what botocore {botocore.__version__} makes of it"
    if as_text(stored) != text:
        yield f"{name}: not laid out as record.py does it"


def facts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every value of a file under a name that finds it: "provenance botocore", "cases <id> token"."""
    if path == ("cases",):
        value = {case["id"]: case for case in value}
    if not isinstance(value, dict):
        yield " ".join(path), value
        return
    for key, item in value.items():
        yield from facts(item, (*path, key))


def write() -> int:
    for name in FILES:
        if any(differences(name)):
            document = recording(name)
            (HERE / name).write_text(as_text(document), "utf-8")
            print(f"{name}: {len(document['cases'])} cases written")
    return 0


def check() -> int:
    unknown = {path.name for path in HERE.glob("*.json")} - FILES.keys()
    found = [line for name in FILES for line in differences(name)] + [f"{name}: unknown" for name in sorted(unknown)]
    print(*found or [f"{len(FILES)} files are as botocore {botocore.__version__} signs them"], sep="\n")
    return 1 if found else 0


# --- random inputs ---

BATCH = 2_000  # inputs that one process signs before it reports
FIRST_SECOND = int(datetime(2015, 1, 1, tzinfo=timezone.utc).timestamp())
LAST_SECOND = int(datetime(2099, 12, 31, 23, 59, 59, tzinfo=timezone.utc).timestamp())
ALNUM = string.ascii_letters + string.digits
ALNUM_HYPHENS = ALNUM + "-" * 10  # often enough to come twice in a row, and last
UNICODE = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))  # all that has a form in UTF-8
ASCII = UNICODE[:0x80]
TEXT_ALPHABETS = (ALNUM + "-._~", cases.VISIBLE_ASCII, cases.VISIBLE_ASCII, ASCII, UNICODE[:1000], UNICODE)
LOGIN_PARAMS = ("Action", "User", "ResourceType")
TOKEN_ALPHABETS = (cases.BASE64 + "=", cases.BASE64URL + "=", cases.VISIBLE_ASCII)
SCOPE_ALPHABETS = (string.ascii_lowercase + "-", cases.VISIBLE_ASCII.replace("/", ""))
REGIONS = sorted(cases.known_regions())


def fuzz(count: int, seed: int, module: Path) -> int:
    batches = [(module, seed, first, min(BATCH, count - first)) for first in range(0, count, BATCH)]
    started = time.perf_counter()
    with multiprocessing.Pool() as pool:
        for difference in pool.imap(first_difference, batches):
            if difference:
                print(f"seed {seed}: a difference", json.dumps(difference, indent=2), sep="\n")
                return 1
    rate = count / (time.perf_counter() - started)
    print(f"{count:,} random inputs, seed {seed}, {rate:,.0f} a second: no difference")
    return 0


def first_difference(batch: tuple[Path, int, int, int]) -> Json | None:
    module, seed, first, size = batch
    signings = random_signings(loaded(module), random.Random(f"{seed} {first}"))
    for given, request, ours in itertools.islice(signings, size):
        theirs = sign(given, *request)[1]
        if ours != theirs:
            return {"input": given, "module": ours, "botocore": theirs}
    return None


@functools.lru_cache
def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("iamcacheauth", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_signings(subject: ModuleType, rng: random.Random) -> Iterator[tuple[Json, tuple[Any, ...], str]]:
    """Inputs without end: each with the request that botocore is to sign and what the module makes of it."""
    while True:
        yield from random_tokens(subject, rng)
        yield random_url(subject, rng)


def random_tokens(subject: ModuleType, rng: random.Random) -> Iterator[tuple[Json, tuple[Any, ...], str]]:
    """Several tokens of one generator, which keeps what may or may not have changed since the last."""
    kind = rng.choice([*cases.KINDS])
    given = {
        **cases.KINDS[kind],
        "user": random_user(rng, kind),
        "name": random_name(rng, 40 if kind == "elasticache" else 63),
        "region": rng.choice(REGIONS),
        **random_keys(rng),
        "timestamp": random_timestamp(rng),
    }
    auth = attempt(generator_of, subject, given, lambda: credentials_of(given))
    for _ in range(4):
        moment = datetime.strptime(given["timestamp"], cases.TIMESTAMP).replace(tzinfo=timezone.utc)
        now = moment.timestamp() + rng.choice((0.0, 0.999))
        subject.time.time = lambda now=now: now
        yield given, token_request(given), auth if isinstance(auth, str) else attempt(auth.token)
        keys = random_keys(rng) if rng.random() < 0.3 else {}
        given = {**given, **keys, "timestamp": random_timestamp(rng, rng.choice((given["timestamp"][:8], None)))}


def generator_of(subject: ModuleType, given: Json, credentials: Callable[[], ReadOnlyCredentials]) -> Any:
    options = {"region": given["region"], "credentials": credentials}
    if given["service"] == "elasticache":
        return subject.ElastiCacheAuth(given["user"], given["name"], serverless=given["serverless"], **options)
    return subject.MemoryDBAuth(given["user"], given["name"], **options)


def random_url(subject: ModuleType, rng: random.Random) -> tuple[Json, tuple[Any, ...], str]:
    any_names = dict.fromkeys(random_text(rng, TEXT_ALPHABETS, 1, 12) for _ in range(rng.randrange(6)))
    names = rng.choice((LOGIN_PARAMS, any_names))  # logins by users that AWS cannot have among them
    given = {
        "service": random_text(rng, SCOPE_ALPHABETS, 1, 16),
        "region": random_text(rng, SCOPE_ALPHABETS, 1, 16),
        "host": random_host(rng),
        "params": [(name, random_text(rng, TEXT_ALPHABETS, 0, 30)) for name in names],
        "timestamp": random_timestamp(rng),
        "expires": rng.randint(1, 604800),
        **random_keys(rng),
    }
    arguments = {name: given[name] for name in ("service", "region", "host", "params", "timestamp", "expires")}
    return given, url_request(given), attempt(subject.presign, credentials_of(given), **arguments)


def attempt(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def credentials_of(given: Json) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(given["access_key"], given["secret_key"], given["session_token"])


def random_keys(rng: random.Random) -> Json:
    token = None if rng.random() < 0.3 else random_text(rng, TOKEN_ALPHABETS, 0, rng.choice((40, 200, 200, 2000)))
    return {**rng.choice(cases.EXAMPLE_KEYS), "session_token": token}


def random_timestamp(rng: random.Random, day: str | None = None) -> str:
    timestamp = time.strftime(cases.TIMESTAMP, time.gmtime(rng.randint(FIRST_SECOND, LAST_SECOND)))
    return timestamp if day is None else day + timestamp[8:]


def random_user(rng: random.Random, kind: str) -> str:
    """A user as the service's API reference allows it, or of the kind of AWS's own default.iam-user."""
    prefix = "" if kind == "memorydb" else rng.choice(("", "", "", "default."))
    return prefix + rng.choice(string.ascii_letters) + random_text(rng, (ALNUM_HYPHENS,), 0, 39)


def random_name(rng: random.Random, longest: int) -> str:
    text = rng.choice(string.ascii_letters) + random_text(rng, (ALNUM_HYPHENS,), 0, longest - 1)
    return re.sub("-+", "-", text).rstrip("-")


def random_host(rng: random.Random) -> str:
    if rng.random() < 0.1:
        host = f"[{ipaddress.IPv6Address(rng.getrandbits(128))}]"
    else:
        host = ".".join(random_text(rng, (ALNUM + "-",), 1, 20) for _ in range(rng.randint(1, 4)))
    return rng.choice((host, host.upper())) + rng.choice(("", "", ":443", ":80", f":{rng.randrange(65536)}"))


def random_text(rng: random.Random, alphabets: tuple[str, ...], shortest: int, longest: int) -> str:
    return "".join(rng.choices(rng.choice(alphabets), k=rng.randint(shortest, longest)))


# --- command line ---


def main() -> int:
    parser = argparse.ArgumentParser(description="Record what botocore signs, or compare with it.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="record again and compare with the files")
    mode.add_argument("--fuzz", type=int, metavar="N", help="compare the module with botocore on N random inputs")
    parser.add_argument("--seed", type=int, default=None, help="repeat the random inputs of an earlier run")
    parser.add_argument("--module", type=Path, default=HERE.parent / "iamcacheauth.py", help="the file under test")
    options = parser.parse_args()
    if options.fuzz is not None and options.fuzz < 1:
        parser.error("--fuzz: a positive number is wanted")
    if not options.module.is_file():
        parser.error("--module: the path of a Python file is wanted")
    pin = PIN.search((HERE.parent / "pyproject.toml").read_text("utf-8"))
    if pin is None or pin[1] != botocore.__version__:
        wanted = pin[1] if pin else "(pinned in pyproject.toml)"
        print(f"record.py: botocore {wanted} is wanted, not {botocore.__version__}", file=sys.stderr)
        return 2
    if options.fuzz is not None:
        seed = int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed
        return fuzz(options.fuzz, seed, options.module)
    return check() if options.check else write()


if __name__ == "__main__":
    sys.exit(main())
