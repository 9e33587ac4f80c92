"""What record.py asks botocore to sign, and the examples that AWS publishes itself.

A case is an id, a comment that says what it is there for, and an input: what a user passes.
"""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore

Json = dict[str, Any]
TIMESTAMP = "%Y%m%dT%H%M%SZ"

# Keys that AWS publishes in its documentation as examples; they open nothing.
EXAMPLE_KEYS = (
    {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"},
    {"access_key": "ASIAIOSFODNN7EXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"},
    {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
    {"access_key": "AKIAI44QH8DHBEXAMPLE", "secret_key": "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"},
)
EXAMPLE_SESSION_TOKEN = "AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE"


# --- tokens ---

KINDS = {
    "elasticache": {"service": "elasticache", "serverless": False},
    "serverless": {"service": "elasticache", "serverless": True},
    "memorydb": {"service": "memorydb", "serverless": False},
}


def token_cases(label: str, comment: str, kinds: Iterable[str] = KINDS, **changes: Any) -> Iterator[Json]:
    """A case for each kind of cache, with ``changes`` to an everyday input."""
    for kind in kinds:
        given = {
            **KINDS[kind],
            "user": "iam-user-01",
            "name": "cache-01",
            "region": "us-east-1",
            **EXAMPLE_KEYS[0],
            "session_token": None,
            "timestamp": "20260102T030405Z",
            **changes,
        }
        yield {"id": f"{label}-{kind}", "comment": comment, "input": given}


def regions() -> Iterator[Json]:
    for region, partition in sorted(known_regions().items()):
        yield from token_cases(region, f"partition {partition}", region=region)


def known_regions() -> dict[str, str]:
    """Every region that botocore's data names, with its partition; pseudo-regions such as aws-global left out."""
    data = Path(botocore.__file__).parent / "data"
    found = {}
    for file, partition_id in (("partitions.json", "id"), ("endpoints.json", "partition")):
        for partition in json.loads((data / file).read_text("utf-8"))["partitions"]:
            found.update(dict.fromkeys(partition["regions"], partition[partition_id]))
    return {region: partition for region, partition in found.items() if not region.endswith("-global")}


BASE64 = string.ascii_letters + string.digits + "+/"
BASE64URL = string.ascii_letters + string.digits + "-_"
VISIBLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))


def session_token(length: int, alphabet: str, padding: int = 0) -> str:
    return (alphabet * (length // len(alphabet) + 1))[: length - padding] + "=" * padding


def credentials() -> Iterator[Json]:
    for number, keys in enumerate(EXAMPLE_KEYS, 1):
        comment = "permanent keys: one of AWS's example pairs; secret keys hold / and +"
        yield from token_cases(f"permanent-{number}", comment, **keys)
    temporary = EXAMPLE_KEYS[1]
    comment = "an empty session token is none: no X-Amz-Security-Token"
    yield from token_cases("empty-session-token", comment, session_token="", **temporary)
    comment = "AWS's example of a session token"
    yield from token_cases("aws-session-token", comment, session_token=EXAMPLE_SESSION_TOKEN, **temporary)
    kinds = itertools.cycle(KINDS)
    for name, alphabet in (("base64", BASE64), ("base64url", BASE64URL)):
        for padding, length in itertools.product(range(3), (100, 101, 102, 356, 720, 1000, 1024, 1500, 1999, 2000)):
            token = session_token(length, alphabet, padding)
            comment = f"session token: {length} characters, all of {name}, padding {padding}"
            label = f"{name}-{length}-padding-{padding}"
            yield from token_cases(label, comment, [next(kinds)], session_token=token, **temporary)
    comment = "session token: every visible ASCII character, % and & among them"
    yield from token_cases("visible-ascii-session-token", comment, session_token=VISIBLE_ASCII * 2, **temporary)


USERS = {
    "upper-case": ("IAM-User-01", "both services store users in lower case: signed like iam-user-01"),
    "one-character": ("u", "the shortest user"),
    "long": ("user-" * 51 + "u", "256 characters; AWS names no limit"),
    "alphabet": (string.ascii_lowercase + "-" + string.digits, "all that users are made of"),
    "alphabet-upper-case": (string.ascii_uppercase, "every letter, signed in lower case"),
    "hyphens": ("a--b---", "unlike names of caches, with hyphens in a row and at the end"),
    "default-hyphen": ("default-user", "begins like ElastiCache's user that has no IAM login"),
}
# ElastiCache's pattern of users has no dot, but the user that AWS makes for serverless caches does.
ELASTICACHE_USERS = {
    "default": ("default.iam-user", "the user that AWS makes: a dot, which stays as it is"),
    "default-upper-case": ("Default.IAM-User", "the user that AWS makes, signed in lower case"),
    "default-letter": ("default.u", "the shortest user with a dot"),
}
# What no user can be called. The generators refuse it; presign signs it as it is.
NO_USERS = {
    "upper-case": ("IAM-User-01", "upper case, as no user is stored"),
    "digits": ("0123456789", "digits stay as they are"),
    "unreserved": ("a-b.c_d~e", "what RFC 3986 leaves unreserved stays as it is"),
    "encoded-slash": ("a%2Fb", "looks percent-encoded: the % is encoded once more"),
    "encoded-percent": ("%25", "a percent sign that looks encoded already"),
    "plus-for-space": ("a+b", "a plus is a plus, %2B, not a space"),
    "second-parameter": ("a&ResourceType=ServerlessCache", "an attempt at a second parameter stays one value"),
    "all-ascii": (VISIBLE_ASCII, "every visible ASCII character"),
    "two-bytes": ("\u00fcser-\u00e9", "Latin letters, two bytes each in UTF-8"),
    "two-bytes-upper-case": ("\u00dcSER-\u00c9", "upper case beyond ASCII"),
    "decomposed": ("u\u0308ser-e\u0301", "the same letters decomposed: nothing normalises them"),
    "greek": ("\u03c7\u03c1\u03ae\u03c3\u03c4\u03b7\u03c2", "Greek, two bytes each"),
    "three-bytes": ("\u7528\u6237", "Chinese, three bytes each"),
    "last-of-bmp": ("\ufffd", "near the end of the Basic Multilingual Plane"),
    "first-astral": ("\U00010000", "the first character beyond the Basic Multilingual Plane, four bytes"),
    "astral": ("user-\U0001f511\U0001f600", "emoji, four bytes each"),
    "last-astral": ("\U0010fffd", "near the end of Unicode"),
    "utf8-bounds": ("\u00a1\u07ff\u0800\uff5e", "where UTF-8 goes from two to three bytes"),
}


def users() -> Iterator[Json]:
    for name, (user, comment) in USERS.items():
        yield from token_cases(name, comment, user=user)
    for name, (user, comment) in ELASTICACHE_USERS.items():
        yield from token_cases(name, comment, ("elasticache", "serverless"), user=user)


NAMES = {
    "shortest": ("a", "one letter"),
    "shortest-upper-case": ("Z", "one letter, signed in lower case"),
    "letter-digit": ("a0", "two characters"),
    "longest": ("abcdefghij" * 4, "40 characters, AWS's limit for replication groups"),
    "longest-upper-case": ("ABCDEFGHIJ" * 4, "40 characters, signed in lower case"),
    "longest-hyphens": ("a-" * 19 + "a0", "40 characters, every other one a hyphen"),
    "digits": ("c0123456789", "every digit"),
    "alphabet": (string.ascii_lowercase, "every letter"),
    "alphabet-upper-case": (string.ascii_uppercase, "every letter, signed in lower case"),
    "mixed-case": ("My-Cache-01", "case is no part of a name"),
    "serverless": ("serverless", "a name that is also a word of the endpoint"),
    "localhost": ("localhost", "a name that means a host elsewhere"),
}


def names() -> Iterator[Json]:
    for name, (cache, comment) in NAMES.items():
        yield from token_cases(name, comment, name=cache)
    comment = "63 characters, the most of a part of a host name; AWS names no limit but that of replication groups"
    yield from token_cases("longest-label", comment, ("serverless", "memorydb"), name="abcdefghi-" * 6 + "abc")


def dates() -> Iterator[Json]:
    kinds = itertools.cycle(KINDS)
    for day, comment in sorted(turning_days().items()):
        midnight = datetime.combine(day, datetime.min.time())
        for moment in (midnight - timedelta(seconds=1), midnight):
            timestamp = moment.strftime(TIMESTAMP)
            yield from token_cases(timestamp.lower(), f"around {comment}", [next(kinds)], timestamp=timestamp)
    for timestamp, comment in (
        ("20150101T000000Z", "the first second of the first year"),
        ("20991231T235959Z", "the last second of the last year"),
        ("20260102T000001Z", "the first second after midnight"),
        ("20260102T115959Z", "before noon: hours are of 24"),
        ("20260102T120000Z", "noon"),
        ("20260102T130000Z", "after noon"),
        ("20380119T031407Z", "the last second of 32-bit clocks"),
        ("20380119T031408Z", "the first second beyond 32-bit clocks"),
    ):
        yield from token_cases(timestamp.lower(), comment, [next(kinds)], timestamp=timestamp)


def turning_days() -> dict[date, str]:
    days = {date(2026, month, 1): "the turn of a month" for month in range(1, 13)}
    days[date(2026, 6, 10)] = "the turn of a day: two digits for the first time in the month"
    for year in (2015, 2016, 2024, 2027, 2028, 2096, 2099):
        days[date(year, 2, 28) + timedelta(days=1)] = "the end of February 28"
        days[date(year, 3, 1)] = "the turn of February, leap year or not"
    for year in (2016, 2017, 2020, 2027, 2038, 2050, 2099):
        days[date(year, 1, 1)] = "the turn of a year"
    return days


# --- presign and canonical_query ---


def url_case(name: str, comment: str, params: Iterable[tuple[str, str]], **changes: Any) -> Json:
    given = {
        "service": "execute-api",
        "region": "us-east-1",
        "host": "example.amazonaws.com",
        "params": list(params),
        "timestamp": "20260102T030405Z",
        "expires": 900,
        **EXAMPLE_KEYS[0],
        "session_token": None,
        **changes,
    }
    return {"id": name, "comment": comment, "input": given}


CALLER_IDENTITY = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]
UNSORTED = [("b", "2"), ("a", "1"), ("c", "3")]
# Names that sort apart only if whole encoded names are compared, not "name=value" texts or raw characters.
SORTING = {
    "sorted": (sorted(UNSORTED), "in canonical order already"),
    "unsorted": (UNSORTED, "the URL keeps the order given, the canonical query is sorted"),
    "reversed": (sorted(UNSORTED, reverse=True), "in the opposite order"),
    "prefixes": ([(n, "v") for n in ("ab", "a.b", "a-b", "a0", "a", "A", "a_", "a~")], "one name begins another"),
    "below-equals-sign": ([("a", "v"), ("a!", "v"), ("a-", "v"), ("a0", "v")], "%, - and 0 sort before ="),
    "cases": ([("b", "1"), ("B", "2"), ("a", "3"), ("A", "4")], "upper case sorts before lower case"),
    "encoded-against-raw": ([("\u00e9", "1"), ("z", "2"), ("~", "3"), ("A", "4")], "%C3%A9 sorts before A"),
    "around-x-amz": (
        [(n, n) for n in ("x-amz-datf", "X-Amz-Datf", "X-Amz-Meta", "X-Amz-", "X-Amz-Date-", "Y", "W", "X")],
        "names before, between and after the X-Amz- parameters",
    ),
    "date-in-value": ([("next", "&X-Amz-Date=20260102T030405Z")], "a value that looks like the date parameter"),
}
HOSTS = {
    "mixed-case": ("My-Host.Example.COM", "signed in lower case, written as given"),
    "https-port": ("example.com:443", "HTTPS's own port is not signed, but written as given"),
    "other-port": ("example.com:8443", "any other port is signed"),
    "http-port": ("example.com:80", "signed: it is not HTTPS's own"),
    "port-ending-in-443": ("example.com:10443", "a port that ends like HTTPS's own"),
    "mixed-case-port": ("Example.COM:6379", "upper case and a port"),
    "ipv4": ("192.0.2.1", "an address"),
    "ipv4-port": ("192.0.2.1:6379", "an address and a port"),
    "ipv6": ("[2001:db8::1]", "an IPv6 address keeps its brackets"),
    "ipv6-443": ("[2001:db8::443]", "an IPv6 address that ends like a port"),
    "ipv6-upper-case": ("[2001:DB8::A]:6380", "signed in lower case, with its port"),
    "ipv6-https-port": ("[2001:db8::1]:443", "signed with its brackets but without the port"),
    "single-label": ("cache", "what tokens have for a host"),
    "trailing-dot": ("example.com.", "the dot of a fully qualified name stays"),
    "underscore": ("my_host.example.com", "no host name by the book, but seen in the field"),
    "longest": (".".join(["a" * 63] * 3 + ["b" * 61]), "253 characters"),
}
TEXTS = {
    "empty": ("", "an empty value keeps its ="),
    "space": (" a b ", "a space is %20, never +"),
    "controls": ("".join(map(chr, range(0x20))) + "\x7f", "every ASCII control character"),
    "ascii": (VISIBLE_ASCII, "every visible ASCII character"),
    "unreserved": (string.ascii_letters + string.digits + "-._~", "nothing to encode"),
    "percent": ("%41%zz%", "percent signs are encoded, whatever follows"),
    "latin": ("".join(map(chr, range(0x80, 0x100))), "two bytes each in UTF-8"),
    "utf8-bounds": ("\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff", "where UTF-8 gets one byte longer"),
    "around-surrogates": ("\ud7ff\ue000", "the neighbours of the surrogates, which have no UTF-8 form"),
    "composed": ("\u00e9", "one character"),
    "decomposed": ("e\u0301", "looks the same, is encoded otherwise"),
    "byte-order-mark": ("\ufeffa", "kept"),
    "long": ("0123456789 " * 100, "1,100 characters"),
}


def urls() -> Iterator[Json]:
    yield url_case("no-parameters", "only the X-Amz- parameters", [])
    for expires in (1, 60, 604800):
        yield url_case(f"expires-{expires}", "1 and 604,800 are AWS's limits", [("a", "b")], expires=expires)
    for number, keys in enumerate(EXAMPLE_KEYS, 1):
        for kind, token in (("permanent", None), ("temporary", session_token(500, BASE64, 2))):
            comment = f"one of AWS's example pairs, {kind}"
            yield url_case(f"keys-{number}-{kind}", comment, [("a", "b")], session_token=token, **keys)
    yield from known_services()
    for name, (params, comment) in SORTING.items():
        yield url_case(f"order-{name}", comment, params)
        yield url_case(f"order-{name}-token", comment, params, session_token=EXAMPLE_SESSION_TOKEN)
    for name, (host, comment) in HOSTS.items():
        yield url_case(f"host-{name}", comment, UNSORTED, host=host)
    for name, (text, comment) in TEXTS.items():
        yield url_case(f"value-{name}", comment, [("b", text), ("a", "1")])
        if text:
            yield url_case(f"name-{name}", comment, [(text, "v"), ("a", "1")])
    for character in string.punctuation:
        params = [(f"{character}n", f"v{character}v"), (f"n{character}", character)]
        yield url_case(f"u{ord(character):04x}", f"the character {character} in names and values", params)
    yield from users_that_aws_cannot_have()


def users_that_aws_cannot_have() -> Iterator[Json]:
    """The requests that tokens would be, if these were users."""
    yield login_case("default", "memorydb", "default.iam-user", "only ElastiCache's users may have a dot")
    for name, (user, comment) in NO_USERS.items():
        for kind in KINDS:
            yield login_case(name, kind, user, comment)
    for character in string.punctuation:
        comment = f"the character {character} at both ends and inside"
        for kind in ("elasticache", "memorydb"):
            yield login_case(f"u{ord(character):04x}", kind, f"{character}a{character}b{character}", comment)


def login_case(label: str, kind: str, user: str, comment: str) -> Json:
    params = [("Action", "connect"), ("User", user)]
    if KINDS[kind]["serverless"]:
        params.append(("ResourceType", "ServerlessCache"))
    request = {"service": KINDS[kind]["service"], "host": "cache-01"}
    return url_case(f"user-{label}-{kind}", f"not a user that AWS can have: {comment}", params, **request)


def known_services() -> Iterator[Json]:
    for region, host in (
        ("us-east-1", "sts.amazonaws.com"),
        ("us-east-1", "sts.us-east-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
    ):
        for kind, token in (("permanent", None), ("temporary", EXAMPLE_SESSION_TOKEN)):
            request = {"service": "sts", "region": region, "host": host, "expires": 60, "session_token": token}
            comment = "GetCallerIdentity as STS takes it, which anyone may call"
            yield url_case(f"{host}-{kind}", comment, CALLER_IDENTITY, **request)
    database = {"service": "rds-db", "host": "db.example.us-east-1.rds.amazonaws.com:3306"}
    params = [("Action", "connect"), ("DBUser", "iam_user")]
    yield url_case("rds-db", "the same protocol elsewhere: a login to a database", params, **database)
    params = [("Action", "connect"), ("User", "iam-user-01")]
    yield url_case("memorydb", "what MemoryDBAuth signs", params, service="memorydb", host="cluster-01")
    params.append(("ResourceType", "ServerlessCache"))
    yield url_case("elasticache", "what ElastiCacheAuth signs", params, service="elasticache", host="cache-01")


REPEATED = {
    "repeated": ([("a", "2"), ("a", "1"), ("a", "3")], "a repeated name: sorted by value"),
    "repeated-apart": ([("a", "2"), ("b", "0"), ("a", "1")], "a repeated name with another between"),
    "repeated-pair": ([("a", "1"), ("a", "1")], "the same pair twice stays twice"),
    "repeated-empty": ([("a", "1"), ("a", "")], "an empty value sorts first"),
    "repeated-lengths": ([("a", "10"), ("a", "9"), ("a", "1")], "values sort as text, not as numbers"),
    "repeated-encoded": ([("a", "~"), ("a", "\u00e9"), ("a", "/"), ("a", "A")], "values sort as encoded, not raw"),
    "repeated-capitals": (
        [("x-amz-date", "1"), ("X-Amz-Date", "2"), ("X-AMZ-DATE", "3")],
        "one name in different capitals is three; presign keeps it to itself in any",
    ),
    "repeated-prefixes": ([("a-b", "1"), ("a", "2"), ("a-b", "0"), ("a", "1")], "names first, then values"),
}


def queries() -> Iterator[Json]:
    yield {"id": "no-parameters", "comment": "no text at all", "input": {"params": []}}
    for name, (params, comment) in {**SORTING, **REPEATED}.items():
        yield {"id": name, "comment": comment, "input": {"params": params}}
    for name, (text, comment) in TEXTS.items():
        yield {"id": f"text-{name}", "comment": comment, "input": {"params": [(text, text), ("a", "1")]}}


# --- AWS's own examples ---

GENERAL_REFERENCE = "https://docs.aws.amazon.com/general/latest/gr"  # its pages on SigV4 have moved to the next
SIGNING_PAGE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html"


def published_keys() -> Iterable[Json]:
    """Signing keys as AWS publishes them: constants, which botocore is only asked to confirm."""
    return (
        {
            "id": "derive-a-signing-key",
            "comment": "the secret key is the example with a plus; AWS publishes each step",
            "source": f"{GENERAL_REFERENCE}/signature-v4-examples.html, now {SIGNING_PAGE}",
            "input": {
                "secret_key": EXAMPLE_KEYS[2]["secret_key"],
                "date": "20120215",
                "region": "us-east-1",
                "service": "iam",
            },
            "steps": [
                ("kDate", "969fbb94feb542b71ede6f87fe4d5fa29c789342b0f407474670f0c2489e0a0d"),
                ("kRegion", "69daa0209cd9c5ff5c8ced464a696fd4252e981430b10e3d3fd8e2f197d7a70c"),
                ("kService", "f72cfd46f26bc4643f06a11eabb6c0ba18780c19a8da0c31ace671265e3c87fa"),
            ],
            "signing_key": "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d",
        },
        {
            "id": "calculate-the-signature",
            "comment": "the secret key is the example with a plus; AWS publishes no steps",
            "source": f"{GENERAL_REFERENCE}/sigv4-calculate-signature.html, now {SIGNING_PAGE}",
            "input": {
                "secret_key": EXAMPLE_KEYS[2]["secret_key"],
                "date": "20150830",
                "region": "us-east-1",
                "service": "iam",
            },
            "steps": [],
            "signing_key": "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9",
        },
    )
