"""The signature's steps, each by itself, against AWS's published examples and the specification's own words."""

from __future__ import annotations

import hashlib
import hmac
import os
import string

import pytest
from support.examples import ACCESS_KEY, PERMANENT, SECRET_KEY, TEMPORARY, read
from support.subject import iamcacheauth

canonical_query = iamcacheauth.canonical_query
canonical_request = iamcacheauth.canonical_request
presign = iamcacheauth.presign
signing_key = iamcacheauth.signing_key
string_to_sign = iamcacheauth.string_to_sign
uri_encode = iamcacheauth.uri_encode

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
TIMESTAMP = "20260102T030405Z"
REQUEST = {"service": "sts", "region": "us-east-1", "host": "sts.us-east-1.amazonaws.com", "timestamp": TIMESTAMP}
CALLER_IDENTITY = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]


# The key of AWS's key-derivation examples has a "+" where that of the other examples has a "/".
# https://docs.aws.amazon.com/general/latest/gr/signature-v4-examples.html
@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("20120215", "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"),
        ("20150830", "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"),
    ],
)
def test_signing_key_of_the_published_examples(date, expected):
    assert signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", date, "us-east-1", "iam").hex() == expected


# https://docs.aws.amazon.com/general/latest/gr/sigv4-create-string-to-sign.html
IAM_REQUEST = f"""\
GET
/
Action=ListUsers&Version=2010-05-08
content-type:application/x-www-form-urlencoded; charset=utf-8
host:iam.amazonaws.com
x-amz-date:20150830T123600Z

content-type;host;x-amz-date
{EMPTY_SHA256}"""

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
S3_PARAMS = [
    ("X-Amz-SignedHeaders", "host"),
    ("X-Amz-Expires", "86400"),
    ("X-Amz-Date", "20130524T000000Z"),
    ("X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"),
    ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
]
S3_REQUEST = """\
GET
/test.txt
X-Amz-Algorithm=AWS4-HMAC-SHA256\
&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host
host:examplebucket.s3.amazonaws.com

host
UNSIGNED-PAYLOAD"""


@pytest.mark.parametrize(
    ("secret_key", "service", "timestamp", "request_text", "signature"),
    [
        pytest.param(
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "iam",
            "20150830T123600Z",
            IAM_REQUEST,
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            id="IAM ListUsers",
        ),
        pytest.param(
            SECRET_KEY,
            "s3",
            "20130524T000000Z",
            S3_REQUEST,
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
            id="S3 presigned GET",
        ),
    ],
)
def test_signature_of_the_published_examples(secret_key, service, timestamp, request_text, signature):
    date = timestamp[:8]
    text = string_to_sign(timestamp, f"{date}/us-east-1/{service}/aws4_request", request_text)
    key = signing_key(secret_key, date, "us-east-1", service)
    assert hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == signature


def test_canonical_query_of_the_published_presigned_example():
    assert canonical_query(S3_PARAMS) == S3_REQUEST.splitlines()[2]


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", ""),
        ("AZaz09-._~", "AZaz09-._~"),
        (" ", "%20"),
        ("+", "%2B"),
        ("%", "%25"),
        ("%2F", "%252F"),
        ("a/b=c&d", "a%2Fb%3Dc%26d"),
        ("*'()!", "%2A%27%28%29%21"),
        ("\x00\n\x7f", "%00%0A%7F"),
        ("é", "%C3%A9"),
        ("🦀", "%F0%9F%A6%80"),
        ("e\u0301", "e%CC%81"),  # not composed: the service compares bytes
    ],
)
def test_uri_encode(text, encoded):
    assert uri_encode(text) == encoded


@pytest.mark.parametrize("text", [None, 5, b"bytes", ["a"], "\ud800", "a\udfffb"])
def test_uri_encode_wants_text_with_a_utf8_form(text):
    with pytest.raises(iamcacheauth.ConfigurationError, match=r"^uri_encode: text with a UTF-8 form is wanted$"):
        uri_encode(text)


@pytest.mark.parametrize(
    ("params", "query"),
    [
        pytest.param([], "", id="none"),
        pytest.param([("b", "1"), ("a", "2")], "a=2&b=1", id="sorted by name"),
        pytest.param([("a", "2"), ("a", "1"), ("a", "2")], "a=1&a=2&a=2", id="repeated, sorted by value"),
        pytest.param([("a", ""), ("", "b")], "=b&a=", id="empty"),
        pytest.param([("a-b", "1"), ("a", "2")], "a=2&a-b=1", id="by name, not by the line it makes"),
        pytest.param([("a", "1"), ("B", "2")], "B=2&a=1", id="capitals first"),
        pytest.param([("-", "1"), ("é", "2")], "%C3%A9=2&-=1", id="by what is encoded, not by what is meant"),
        pytest.param([("a", "~"), ("a", "é")], "a=%C3%A9&a=~", id="values too"),
        pytest.param([("a b", "c&d=e")], "a%20b=c%26d%3De", id="encoded"),
        pytest.param((pair for pair in [("b", "1"), ("a", "2")]), "a=2&b=1", id="any iterable"),
        pytest.param(iter([]), "", id="an empty iterator"),
        pytest.param((["b", "1"], ["a", "2"]), "a=2&b=1", id="lists for pairs"),
    ],
)
def test_canonical_query(params, query):
    assert canonical_query(params) == query


NOT_PAIRS = [None, 5, "ab", ["ab"], {"ab": "c"}, {"a": "b"}, [("a",)], [("a", "b", "c")], [("a", 1)], [(b"a", "b")]]


@pytest.mark.parametrize("params", [*NOT_PAIRS, [([], "b")], [("a", None)], os.environ])
def test_canonical_query_wants_pairs_of_text(params):
    with pytest.raises(iamcacheauth.ConfigurationError, match=r"^params: "):
        canonical_query(params)


@pytest.mark.parametrize(
    ("host", "header"),
    [
        ("my-cache", "my-cache"),
        ("My-Cache", "my-cache"),
        ("example.com:443", "example.com"),
        ("example.com:80", "example.com:80"),
        ("[::1]:6379", "[::1]:6379"),
    ],
)
def test_canonical_request(host, header):
    expected = f"GET\n/\nAction=connect&User=u\nhost:{header}\n\nhost\n{EMPTY_SHA256}"
    assert canonical_request(host, [("User", "u"), ("Action", "connect")]) == expected


@pytest.mark.parametrize("host", [None, b"my-cache", 5])
def test_canonical_request_wants_a_host(host):
    with pytest.raises(iamcacheauth.ConfigurationError, match=f"^host: text is wanted, not .* {type(host).__name__}$"):
        canonical_request(host, [])


def test_string_to_sign():
    text = string_to_sign(TIMESTAMP, "20260102/us-east-1/sts/aws4_request", "")
    assert text == f"AWS4-HMAC-SHA256\n{TIMESTAMP}\n20260102/us-east-1/sts/aws4_request\n{EMPTY_SHA256}"


def signed_step_by_step(credentials, params, *, expires="900"):
    """The presigned URL of REQUEST, put together from the public functions alone."""
    scope = "20260102/us-east-1/sts/aws4_request"
    signed = [
        *params,
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", f"{credentials.access_key}/{scope}"),
        ("X-Amz-Date", TIMESTAMP),
        ("X-Amz-Expires", expires),
        ("X-Amz-SignedHeaders", "host"),
    ]
    if credentials.token:
        signed.append(("X-Amz-Security-Token", credentials.token))
    text = string_to_sign(TIMESTAMP, scope, canonical_request(REQUEST["host"], signed))
    key = signing_key(credentials.secret_key, "20260102", "us-east-1", "sts")
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    query = "&".join(f"{uri_encode(name)}={uri_encode(value)}" for name, value in signed)
    return f"{REQUEST['host']}/?{query}&X-Amz-Signature={signature}"


@pytest.mark.parametrize("credentials", [PERMANENT, TEMPORARY], ids=["permanent", "temporary"])
@pytest.mark.parametrize(
    "params",
    [
        pytest.param(CALLER_IDENTITY, id="GetCallerIdentity"),
        pytest.param([], id="none"),
        pytest.param([("z", "1"), ("a", ""), ("z", "0"), ("é", "🦀")], id="unsorted, repeated, empty, UTF-8"),
        pytest.param([("a", f"&X-Amz-Date={TIMESTAMP}")], id="a value that looks like a parameter"),
        pytest.param([("X-Amz-Dat", "1"), ("x-amz-dates", "2"), ("X-Amz-", "3")], id="names like presign's own"),
    ],
)
def test_presign_is_its_steps(credentials, params):
    assert presign(credentials, params=params, **REQUEST) == signed_step_by_step(credentials, params)


def test_presign_takes_an_iterator():
    assert presign(PERMANENT, params=iter(CALLER_IDENTITY), **REQUEST) == signed_step_by_step(
        PERMANENT, CALLER_IDENTITY
    )


@pytest.mark.parametrize("expires", [1, 900, 604800])
def test_presign_for_as_long_as_aws_allows(expires):
    url = presign(PERMANENT, params=CALLER_IDENTITY, expires=expires, **REQUEST)
    assert url == signed_step_by_step(PERMANENT, CALLER_IDENTITY, expires=str(expires))


@pytest.mark.parametrize("token", [None, ""])
def test_presign_without_session_token(token):
    url = presign(iamcacheauth.StaticCredentials(ACCESS_KEY, SECRET_KEY, token), params=CALLER_IDENTITY, **REQUEST)
    assert "X-Amz-Security-Token" not in read(url)[1]


def test_presign_signs_for_any_time_whenever_the_credentials_expire():
    expired = iamcacheauth.StaticCredentials(ACCESS_KEY, SECRET_KEY, expiration=1)
    url = presign(expired, params=CALLER_IDENTITY, **REQUEST)
    assert url == presign(PERMANENT, params=CALLER_IDENTITY, **REQUEST)


def test_presign_takes_any_visible_text_that_does_not_end_its_part():
    visible = string.ascii_letters + string.digits + string.punctuation.replace("/", "")
    host = visible.translate(str.maketrans("", "", "?#@&"))
    url = presign(PERMANENT, service=visible, region=visible, host=host, params=[], timestamp=TIMESTAMP)
    assert url.startswith(f"{host}/?")
    assert read(url)[1]["X-Amz-Credential"] == f"{ACCESS_KEY}/20260102/{visible}/{visible}/aws4_request"


def test_presign_keeps_the_host_as_written_but_signs_it_as_sent():
    as_written = presign(PERMANENT, params=[], **{**REQUEST, "host": "Example.com:443"})
    as_sent = presign(PERMANENT, params=[], **{**REQUEST, "host": "example.com"})
    assert as_written == as_sent.replace("example.com", "Example.com:443")


WANTED = {
    "service": "visible ASCII text without any of / is wanted",
    "region": "visible ASCII text without any of / is wanted",
    "host": "visible ASCII text without any of /?#@& is wanted",
    "timestamp": "UTC in the form '20260102T030405Z' is wanted",
    "expires": "seconds from 1 to 604800 are wanted",
    "params": "pairs of name and value, both text, are wanted, like [('Action', 'connect')]",
}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *[("host", value) for value in ("", None, b"h", "a/b", "a?b", "a#b", "a&b", "u@h", "a b", "h\n", "é")],
        *[("service", value) for value in ("", None, "a/b", "a b", "sts\n")],
        *[("region", value) for value in ("", None, "a/b", "us-east-1\n")],
        *[("timestamp", value) for value in ("", None, 5, "20260102", "2026-01-02T03:04:05Z", f"{TIMESTAMP}\n")],
        *[("timestamp", value) for value in ("20260102t030405z", "20260102T030405", "\uff120260102T030405Z")],
        *[("timestamp", value) for value in ("20260102x030405Z", "20260102T030405x", "2026010xT030405Z")],
        *[("timestamp", value) for value in ("20260102Tx30405Z", "20260102T03040xZ")],
        *[("expires", value) for value in (0, -1, 604801, 900.0, "900", None, True)],
        *[("params", value) for value in NOT_PAIRS],
    ],
)
def test_presign_says_what_is_wanted(argument, value):
    arguments = {**REQUEST, "params": CALLER_IDENTITY, argument: value}
    with pytest.raises(iamcacheauth.ConfigurationError) as caught:
        presign(PERMANENT, **arguments)
    assert str(caught.value) == f"{argument}: {WANTED[argument]}"


@pytest.mark.parametrize("capitals", [str, str.lower, str.upper, str.swapcase, str.capitalize])
@pytest.mark.parametrize(
    "name", ["Algorithm", "Credential", "Date", "Expires", "Security-Token", "Signature", "SignedHeaders"]
)
def test_presign_adds_its_own_parameters_itself(name, capitals):
    with pytest.raises(iamcacheauth.ConfigurationError) as caught:
        presign(PERMANENT, params=[("a", "b"), (capitals(f"X-Amz-{name}"), "x")], **REQUEST)
    assert str(caught.value) == f"params: X-Amz-{name} is presign's own to add; leave it out"


@pytest.mark.parametrize("credentials", [None, "AKIA", object(), ("a", "b", "c"), lambda: PERMANENT])
def test_presign_wants_credentials(credentials):
    with pytest.raises(iamcacheauth.Error, match=r"^credentials: "):
        presign(credentials, params=CALLER_IDENTITY, **REQUEST)


@pytest.mark.parametrize("secret_key", [None, 5, b"bytes", f"{SECRET_KEY}\ud800"])
def test_signing_key_refuses_what_is_no_key_without_showing_it(secret_key):
    with pytest.raises(iamcacheauth.ConfigurationError, match=r"^secret_key: text with a UTF-8 form ") as caught:
        signing_key(secret_key, "20260102", "us-east-1", "sts")
    assert SECRET_KEY not in repr(caught.value)
