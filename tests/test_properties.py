"""What holds for any input, searched for counterexamples by hypothesis."""

from __future__ import annotations

import contextlib
import datetime
import re
import string
import sys
import traceback
import types
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.examples import ACCESS_KEY, NOON, PERMANENT, SECRET_KEY, clock_at, read
from support.subject import iamcacheauth

StaticCredentials = iamcacheauth.StaticCredentials

any_text = st.text()  # without lone surrogates
visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
keys = st.text(visible, min_size=1, max_size=64)
session_tokens = st.none() | st.text(visible, min_size=1, max_size=500)
names = st.from_regex("[a-zA-Z][a-zA-Z0-9]{0,4}(-[a-zA-Z0-9]{1,4}){0,7}", fullmatch=True)  # 40 characters at most
memorydb_users = st.from_regex("[a-zA-Z][a-zA-Z0-9-]{0,39}", fullmatch=True)
elasticache_users = st.from_regex(r"(default\.)?[a-zA-Z][a-zA-Z0-9-]{0,39}", fullmatch=True).filter(
    lambda user: user.lower() != "default"
)
regions = st.sampled_from(["us-east-1", "eu-west-3", "ap-southeast-7", "us-gov-west-1", "us-isob-east-1", "cn-north-1"])
times = st.integers(1420070400, 4102444799)  # 2015 to 2099
timestamps = times.map(
    lambda epoch: datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
)
own_params = {"algorithm", "credential", "date", "expires", "security-token", "signature", "signedheaders"}
param_names = any_text.filter(lambda name: name.lower().replace("x-amz-", "") not in own_params)
param_lists = st.lists(st.tuples(param_names, any_text), max_size=6)
credentials_objects = st.builds(StaticCredentials, keys, keys, session_tokens)


def signature(url):
    return url.rpartition("&X-Amz-Signature=")[2]


@given(any_text)
def test_uri_encode_is_pythons_quote(text):
    assert iamcacheauth.uri_encode(text) == quote(text, safe="-_.~")


def test_uri_encode_of_every_character():
    everything = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    assert iamcacheauth.uri_encode(everything) == quote(everything, safe="-_.~")


@given(any_text, st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"]), any_text)
def test_uri_encode_refuses_lone_surrogates(before, surrogate, after):
    with pytest.raises(iamcacheauth.ConfigurationError):
        iamcacheauth.uri_encode(before + surrogate + after)


@given(elasticache_users, names, regions, st.booleans(), credentials_objects, times)
def test_a_token_gives_back_what_went_in(user, name, region, serverless, credentials, now):
    auth = iamcacheauth.ElastiCacheAuth(user, name, region=region, serverless=serverless, credentials=credentials)
    with clock_at(now):
        host, params = read(auth.token())
    scope = params.pop("X-Amz-Credential")[len(credentials.access_key) :].split("/")
    signed_at = datetime.datetime.strptime(params["X-Amz-Date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
    assert (host, params["User"]) == (name.lower(), user.lower())
    assert params.get("ResourceType") == ("ServerlessCache" if serverless else None)
    assert params.get("X-Amz-Security-Token") == credentials.token
    assert scope == ["", params["X-Amz-Date"][:8], region, "elasticache", "aws4_request"]
    assert signed_at.timestamp() == now


@given(credentials_objects, param_lists, timestamps)
def test_a_presigned_url_gives_back_its_params_in_their_order(credentials, params, timestamp):
    url = iamcacheauth.presign(
        credentials, service="s", region="r", host="h", params=params, timestamp=timestamp, expires=60
    )
    assert parse_qsl(url.partition("/?")[2], keep_blank_values=True)[: len(params)] == params


request_inputs = {
    "access_key": keys,
    "secret_key": keys,
    "token": session_tokens,
    "service": names,
    "region": regions,
    "host": names.map(str.lower),
    "params": param_lists.map(sorted),
    "timestamp": timestamps,
    "expires": st.integers(1, 604800),
}


@given(st.fixed_dictionaries(request_inputs), st.sampled_from(sorted(request_inputs)), st.data())
def test_any_change_of_any_input_changes_the_signature(inputs, changed, data):
    def presigned(access_key, secret_key, token, **others):
        return iamcacheauth.presign(StaticCredentials(access_key, secret_key, token), **others)

    other = data.draw(request_inputs[changed])
    assume(other != inputs[changed])
    assert signature(presigned(**inputs)) != signature(presigned(**{**inputs, changed: other}))


@given(param_lists, st.randoms(use_true_random=False))
def test_the_order_of_params_does_not_matter(params, random):
    shuffled = random.sample(params, len(params))
    assert iamcacheauth.canonical_query(shuffled) == iamcacheauth.canonical_query(params)
    request = {"service": "s", "region": "r", "host": "h", "timestamp": "20260102T030405Z"}
    one, other = (iamcacheauth.presign(PERMANENT, params=order, **request) for order in (params, shuffled))
    assert signature(one) == signature(other)


@given(elasticache_users, memorydb_users, names, st.randoms(use_true_random=False))
def test_the_case_of_names_does_not_matter(elasticache_user, memorydb_user, name, random):
    def rewritten(text):
        return "".join(random.choice([character.lower(), character.upper()]) for character in text)

    with clock_at(NOON):
        for service, user in (
            (iamcacheauth.ElastiCacheAuth, elasticache_user),
            (iamcacheauth.MemoryDBAuth, memorydb_user),
        ):
            auth = service(user, name, region="us-east-1", credentials=PERMANENT)
            other = service(rewritten(user), rewritten(name), region="us-east-1", credentials=PERMANENT)
            assert other.get_credentials() == auth.get_credentials()


# Texts that are users and names more often than any text is, and often nearly.
parts = st.text(string.ascii_letters[:4] + "01-.\n\u0663\u00fc", max_size=8) | st.sampled_from(["default", "default."])
nearly_names = st.lists(parts, max_size=3).map("".join) | any_text


@pytest.mark.parametrize(
    ("argument", "service", "pattern"),
    [
        ("user", iamcacheauth.ElastiCacheAuth, r"(?!default\Z)(default\.)?[a-z][a-z0-9-]*"),
        ("user", iamcacheauth.MemoryDBAuth, "[a-z][a-z0-9-]*"),
        ("cache", iamcacheauth.ElastiCacheAuth, r"(?=.{1,40}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*"),
        ("cluster", iamcacheauth.MemoryDBAuth, "[a-z][a-z0-9]*(-[a-z0-9]+)*"),
    ],
)
@given(text=nearly_names)
def test_users_and_names_are_what_aws_allows_and_nothing_else(argument, service, pattern, text):
    given_names = {"user": "u", "cluster" if service is iamcacheauth.MemoryDBAuth else "cache": "c", argument: text}
    allowed = re.fullmatch(pattern, text, re.IGNORECASE | re.ASCII)
    refused = pytest.raises(iamcacheauth.ConfigurationError, match=f"^{argument}: ")
    with contextlib.nullcontext() if allowed else refused:
        auth = service(**given_names, region="us-east-1", credentials=PERMANENT)
        assert (auth.user if argument == "user" else auth.name) == text.lower()


anything = st.text(st.characters(exclude_categories=())) | st.binary() | st.integers() | st.floats() | st.none()


@pytest.mark.parametrize("argument", ["user", "cache", "region", "expiration"])
@given(value=anything)
def test_any_argument_is_accepted_or_refused_in_one_line(argument, value):
    arguments = {"user": "u", "cache": "c", "region": "us-east-1", argument: value}
    try:
        if argument == "expiration":
            StaticCredentials(ACCESS_KEY, SECRET_KEY, None, value)
        else:
            auth = iamcacheauth.ElastiCacheAuth(**arguments, credentials=PERMANENT)
            assert read(auth.token())[0] == auth.name
            assert re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", auth.name)
    except iamcacheauth.ConfigurationError as error:
        assert str(error).partition(":")[0] in (argument, "region")
        assert str(error).isprintable()


offsets = st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
moments = st.datetimes(datetime.datetime(1970, 1, 3), datetime.datetime(9999, 12, 29), timezones=offsets)


@given(moments)
def test_an_expiration_is_the_same_moment_however_it_is_written(moment):
    moment = moment.replace(microsecond=0)
    in_utc = moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
    for written in (moment, moment.isoformat(), in_utc, moment.timestamp()):
        assert StaticCredentials(ACCESS_KEY, SECRET_KEY, None, written).expiration == moment.timestamp()


# A secret is told by its marker, at both ends and in the middle: no part of any length may show.
MARK = "hunter2"
part = st.text(string.ascii_letters + string.digits + "+/=_-", max_size=20)
secrets = st.builds(lambda one, other: f"{MARK}{one}{MARK}{other}{MARK}", part, part)


def object_with(**attributes):
    return types.SimpleNamespace(**{"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "token": None, **attributes})


def signing_with(credentials):
    return iamcacheauth.MemoryDBAuth("u", "c", region="us-east-1", credentials=credentials).token()


def presigning(**changed):
    request = {"service": "s", "region": "r", "host": "h", "params": [], "timestamp": "20260102T030405Z"}
    credentials = changed.pop("credentials", PERMANENT)
    return iamcacheauth.presign(credentials, **{**request, **changed})


def raising(error):
    def fail():
        raise error

    return fail


RIGHT_USES = [
    lambda secret: StaticCredentials(secret, secret, secret, "2999-01-01T00:00:00Z"),
    lambda secret: iamcacheauth.EnvironmentCredentials({"AWS_ACCESS_KEY_ID": secret, "AWS_SECRET_ACCESS_KEY": secret}),
    lambda secret: iamcacheauth.RefreshingCredentials(lambda: StaticCredentials(secret, secret, secret)),
]

WRONG_USES = [
    lambda s: StaticCredentials(f"{s}\n", s, s),
    lambda s: StaticCredentials(s, f"{s}\n", s),
    lambda s: StaticCredentials(s, s, f"{s}\n"),
    lambda s: StaticCredentials(ACCESS_KEY, s, s, s),
    lambda s: iamcacheauth.ElastiCacheAuth(f"{s}+", "c", region="us-east-1"),
    lambda s: iamcacheauth.MemoryDBAuth(f"{s}\n", "c", region="us-east-1"),
    lambda s: iamcacheauth.ElastiCacheAuth("u", f"{s}!", region="us-east-1"),
    lambda s: iamcacheauth.ElastiCacheAuth("u", f"{s}:{s}", region="us-east-1"),
    lambda s: iamcacheauth.ElastiCacheAuth("u", f"{s}/", region="us-east-1"),
    lambda s: iamcacheauth.ElastiCacheAuth("u", f"rediss://u:{s}@10.0.0.5:6379/{s}", region="us-east-1"),
    lambda s: iamcacheauth.ElastiCacheAuth("u", f"u:{s}@master.c.abcdef.use1.cache.amazonaws.com", region="us-east-1"),
    lambda s: iamcacheauth.ElastiCacheAuth("u", "c", region=s),
    lambda s: iamcacheauth.ElastiCacheAuth("u", "c", region="us-east-1", serverless=s),
    lambda s: iamcacheauth.ElastiCacheAuth("u", "c", region="us-east-1", credentials=s),
    lambda s: iamcacheauth.ElastiCacheAuth("u", "c", region="us-east-1", credentials=(s, s, s)),
    lambda s: iamcacheauth.EnvironmentCredentials(s),
    lambda s: iamcacheauth.EnvironmentCredentials(timeout=s),
    lambda s: iamcacheauth.RefreshingCredentials(s),
    lambda s: signing_with(object_with(secret_key=f"{s}\n")),
    lambda s: signing_with(object_with(secret_key=s, token=s.encode())),
    lambda s: signing_with(object_with(secret_key=s, expiration=s)),
    lambda s: signing_with(object_with(secret_key=s, token=s, expiration=1)),
    lambda s: signing_with(lambda: object_with(access_key=f"{s}\n")),
    lambda s: signing_with(lambda: s),
    lambda s: signing_with(iamcacheauth.RefreshingCredentials(lambda: (s, s, s))),
    lambda s: signing_with(iamcacheauth.EnvironmentCredentials({"AWS_SECRET_ACCESS_KEY": s})),
    lambda s: signing_with(
        iamcacheauth.EnvironmentCredentials({"AWS_SECRET_ACCESS_KEY": f"{s}\n{s}", "AWS_ACCESS_KEY_ID": s})
    ),
    lambda s: signing_with(
        iamcacheauth.EnvironmentCredentials(
            {"AWS_SECRET_ACCESS_KEY": s, "AWS_ACCESS_KEY_ID": s, "AWS_CREDENTIAL_EXPIRATION": s}
        )
    ),
    lambda s: presigning(credentials=s),
    lambda s: presigning(credentials=object_with(secret_key=f"{s}\n")),
    lambda s: presigning(service=f"{s}\n"),
    lambda s: presigning(host=f"{s}@{s}"),
    lambda s: presigning(timestamp=s),
    lambda s: presigning(expires=s),
    lambda s: presigning(params=s),
    lambda s: presigning(params=[(s, s, s)]),
    lambda s: presigning(params=[("a", f"{s}\ud800")]),
    lambda s: iamcacheauth.uri_encode(f"{s}\ud800"),
    lambda s: iamcacheauth.canonical_query({s: s}),
    lambda s: iamcacheauth.signing_key(f"{s}\ud800", "20260102", "us-east-1", "s"),
]


def shown_in(text):
    return MARK in text.lower()


@given(secrets)
def test_no_secret_shows_in_anything_that_holds_it(secret):
    for use in RIGHT_USES:
        holder = use(secret)
        auth = iamcacheauth.MemoryDBAuth("u", "c", region="us-east-1", credentials=holder)
        auth.get_credentials()
        for shown in (holder, auth, [holder], {"auth": auth}):
            assert not shown_in(f"{shown!r} {shown!s} {shown}")


@pytest.mark.parametrize("use", WRONG_USES, ids=lambda use: f"line {use.__code__.co_firstlineno}")
@given(secret=secrets)
@settings(max_examples=20)
def test_no_secret_shows_in_an_error(use, secret):
    with pytest.raises(iamcacheauth.Error) as caught:
        use(secret)
    error = caught.value
    assert not shown_in(f"{error} {error!r}")
    assert not shown_in("".join(traceback.format_exception(type(error), error, error.__traceback__)))
