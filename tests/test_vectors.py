"""Every recorded case, step by step: a failing test names the case, its failing line the step."""

from __future__ import annotations

import asyncio
import calendar
import itertools
import json
import string
import time
from urllib.parse import unquote

import pytest
from support.examples import clock_at
from support.subject import iamcacheauth
from support.vector_files import FOLDER, MalformedVectors, load

FILES = {path.stem: load(path) for path in sorted(FOLDER.glob("*.json"))}
TOKEN_FILES = [name for name in FILES if name.startswith("tokens_")]


def each_case_of(*names):
    cases = [pytest.param(case, id=f"{name}:{case['id']}") for name in names for case in FILES[name]]
    return pytest.mark.parametrize("case", cases)


def inputs_of(*names):
    return [case["input"] for name in names for case in FILES[name]]


def credentials_of(given):
    return iamcacheauth.StaticCredentials(given["access_key"], given["secret_key"], given["session_token"])


def compare_steps(case, url):
    """Give each step what botocore's step had, so that only the step at fault differs."""
    given = case["input"]
    host, _, query = url.partition("/?")
    encoded = [tuple(pair.split("=")) for pair in query.split("&") if not pair.startswith("X-Amz-Signature=")]
    params = [(unquote(name), unquote(value)) for name, value in encoded]
    request = "\n".join(case["canonical_request"])
    date, region, service = given["timestamp"][:8], given["region"], given["service"]
    scope = f"{date}/{region}/{service}/aws4_request"

    assert [tuple(map(iamcacheauth.uri_encode, pair)) for pair in params] == encoded
    assert iamcacheauth.canonical_query(params) == case["canonical_request"][2]
    assert iamcacheauth.canonical_request(host, params) == request
    assert iamcacheauth.string_to_sign(given["timestamp"], scope, request) == "\n".join(case["string_to_sign"])
    assert iamcacheauth.signing_key(given["secret_key"], date, region, service).hex() == case["signing_key"]


@pytest.fixture(autouse=True, scope="module")
def far_from_greenwich():
    """Local time taken for UTC must show, also where the machine's clock is on UTC."""
    set_zone = getattr(time, "tzset", lambda: None)  # Windows has none
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "LOCAL-05:45")
        set_zone()
        yield
    set_zone()


@each_case_of(*TOKEN_FILES)
def test_token(case):
    compare_steps(case, case["token"])

    given = case["input"]
    options = {"region": given["region"], "credentials": credentials_of(given)}
    if given["service"] == "elasticache":
        auth = iamcacheauth.ElastiCacheAuth(given["user"], given["name"], serverless=given["serverless"], **options)
    else:
        auth = iamcacheauth.MemoryDBAuth(given["user"], given["name"], **options)
    second = calendar.timegm(time.strptime(given["timestamp"], "%Y%m%dT%H%M%SZ"))
    with clock_at(second + 0.999):
        assert auth.token() == case["token"]
        assert asyncio.run(auth.token_async()) == case["token"]


@each_case_of("presign")
def test_presign(case):
    compare_steps(case, case["url"])

    names = ("service", "region", "host", "params", "timestamp", "expires")
    request = {name: case["input"][name] for name in names}
    assert iamcacheauth.presign(credentials_of(case["input"]), **request) == case["url"]


@each_case_of("canonical_query")
def test_canonical_query(case):
    assert iamcacheauth.canonical_query(case["input"]["params"]) == case["canonical_query"]


@each_case_of("signing_key")
def test_signing_key(case):
    given = case["input"]
    key = iamcacheauth.signing_key(given["secret_key"], given["date"], given["region"], given["service"])
    assert key.hex() == case["signing_key"]


# --- what the cases cover ---

KINDS = [("elasticache", False), ("elasticache", True), ("memorydb", False)]
ONE_REGION_PER_PARTITION = [
    "us-east-1",
    "cn-north-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-isob-east-1",
    "eu-isoe-west-1",
    "us-isof-south-1",
    "eusc-de-east-1",
]
BASE64_AND_BASE64URL = string.ascii_letters + string.digits + "+/-_="
TURNS = [
    *("20150101T000000Z", "20151231T235959Z", "20160101T000000Z", "20991231T235959Z"),
    *("20260131T235959Z", "20260201T000000Z", "20260609T235959Z", "20260610T000000Z"),
    *("20160228T235959Z", "20160229T000000Z", "20160229T235959Z", "20160301T000000Z"),
    *("20270228T235959Z", "20270301T000000Z", "20960229T235959Z"),
]
BOTH_SERVICES = ["elasticache", "memorydb"]
# Every character of every user, with the service: of those that AWS allows, and of those that presign alone signs.
CHARACTERS_OF_USERS = [(letter, given["service"]) for given in inputs_of("tokens_users") for letter in given["user"]]
CHARACTERS_OF_NO_USERS = [
    (letter, given["service"])
    for given in inputs_of("presign")
    for name, value in given["params"]
    for letter in value
    if name == "User"
]
SESSION_TOKENS = [given["session_token"] for given in inputs_of(*TOKEN_FILES) if given["session_token"]]
QUERIES = [given["params"] for given in inputs_of("presign", "canonical_query")]


@pytest.mark.parametrize(
    ("name", "least"),
    {
        "tokens_regions": 3 * 40,
        "tokens_credentials": 70,
        "tokens_users": 27,
        "tokens_names": 38,
        "tokens_dates": 60,
        "presign": 233,
        "canonical_query": 31,
        "signing_key": 2,
    }.items(),
)
def test_no_file_has_lost_its_cases(name, least):
    assert len(FILES[name]) >= least


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param(
            itertools.product(ONE_REGION_PER_PARTITION, KINDS),
            [(given["region"], (given["service"], given["serverless"])) for given in inputs_of("tokens_regions")],
            id="every kind in every partition",
        ),
        pytest.param(
            [None, "", *range(100, 103), 2000],
            [token and len(token) for token in (given["session_token"] for given in inputs_of("tokens_credentials"))],
            id="session tokens from none to 2,000 characters",
        ),
        pytest.param(BASE64_AND_BASE64URL, "".join(SESSION_TOKENS), id="every character of session tokens"),
        pytest.param(
            ["", "=", "=="], [token[len(token.rstrip("=")) :] for token in SESSION_TOKENS], id="every length of padding"
        ),
        pytest.param(
            itertools.product(string.ascii_letters + string.digits + "-", BOTH_SERVICES),
            CHARACTERS_OF_USERS,
            id="every character of users",
        ),
        pytest.param(
            itertools.product(["default.iam-user"], KINDS[:2]),
            [(given["user"], (given["service"], given["serverless"])) for given in inputs_of("tokens_users")],
            id="the user that AWS makes",
        ),
        pytest.param(
            itertools.product(string.punctuation, BOTH_SERVICES),
            CHARACTERS_OF_NO_USERS,
            id="every reserved character where a user belongs",
        ),
        pytest.param(
            itertools.product([1, 2, 3, 4], BOTH_SERVICES),
            [(len(letter.encode()), service) for letter, service in CHARACTERS_OF_NO_USERS],
            id="every length of UTF-8 where a user belongs",
        ),
        pytest.param([1, 40, 63], [len(given["name"]) for given in inputs_of("tokens_names")], id="lengths of names"),
        pytest.param(TURNS, [given["timestamp"] for given in inputs_of("tokens_dates")], id="turns of the calendar"),
        pytest.param([1, 604800], [given["expires"] for given in inputs_of("presign")], id="limits of X-Amz-Expires"),
        pytest.param(
            [True, False],
            [params == sorted(params) for params in QUERIES],
            id="presorted and unsorted parameters",
        ),
        pytest.param(
            [True], [len({name for name, _ in params}) < len(params) for params in QUERIES], id="repeated names"
        ),
        pytest.param(
            itertools.chain([""], string.punctuation),
            itertools.chain.from_iterable([value, *value] for params in QUERIES for _, value in params),
            id="empty values and every reserved character in values",
        ),
        pytest.param(
            string.punctuation,
            itertools.chain.from_iterable(name for params in QUERIES for name, _ in params),
            id="every reserved character in names of parameters",
        ),
    ],
)
def test_the_inputs_cover(wanted, found):
    assert set(wanted) <= set(found)


def test_every_key_is_one_of_the_published_examples():
    secrets = {given["secret_key"] for given in inputs_of("presign", "signing_key", *TOKEN_FILES)}
    assert all(secret.endswith("EXAMPLEKEY") for secret in secrets)


# --- the reader ---

CASE = {"id": "a", "comment": "", "input": {"params": [["a", "b"]]}, "canonical_query": "a=b"}
PROVENANCE = {"generator": "", "botocore": "", "python": "", "recorded": ""}
FILE = json.dumps({"comment": "", "provenance": PROVENANCE, "cases": [CASE]})
CASE = json.dumps(CASE)


def read(folder, text, name="canonical_query.json"):
    path = folder / name
    path.write_text(text, "utf-8")
    return load(path)


def test_the_reader_takes_a_file_as_it_should_be(tmp_path):
    assert read(tmp_path, FILE) == [json.loads(CASE)]


@pytest.mark.parametrize(
    ("part", "replacement", "complaint"),
    [
        pytest.param(FILE, "", "Expecting value", id="empty"),
        pytest.param(FILE, "{}", r"missing keys: \['cases', 'comment', 'provenance'\]", id="empty object"),
        pytest.param(FILE, "[]", "wrong type", id="not an object"),
        pytest.param(CASE, "", "no cases", id="no cases"),
        pytest.param(CASE, f"{CASE}, {CASE}", "one id twice", id="one id twice"),
        pytest.param('"id": "a"', '"id": "a", "id": "b"', "a key twice", id="one key twice"),
        pytest.param('"cases"', '"notes": "", "cases"', r"\['notes'\]", id="unknown key of the file"),
        pytest.param('"python": "", ', "", r"provenance: .*\['python'\]", id="missing key of the provenance"),
        pytest.param('"id"', '"flag": "", "id"', r"cases: 1: .*\['flag'\]", id="unknown key of a case"),
        pytest.param('"comment": "", "input"', '"input"', r"cases: 1: .*\['comment'\]", id="missing key of a case"),
        pytest.param('"params"', '"host": "", "params"', r"input: .*\['host'\]", id="unknown key of an input"),
        pytest.param('"a=b"', "null", "canonical_query: of the wrong type", id="wrong type"),
        pytest.param('["a", "b"]', '["a", 1]', "params: 1: 2: of the wrong type", id="wrong type within"),
        pytest.param('[["a", "b"]]', '"ab"', "params: of the wrong type", id="text for a list"),
    ],
)
def test_the_reader_refuses(tmp_path, part, replacement, complaint):
    assert part in FILE
    with pytest.raises(MalformedVectors, match=rf"canonical_query\.json: .*{complaint}"):
        read(tmp_path, FILE.replace(part, replacement))


def test_the_reader_refuses_a_file_that_it_does_not_know(tmp_path):
    with pytest.raises(MalformedVectors, match="not a known file"):
        read(tmp_path, FILE, "other.json")
