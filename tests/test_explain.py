"""The explain command: what a token claims and what is wrong with it, as whole texts, for people will read them."""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import html
import io
import itertools
import json
import os
import subprocess
import sys
import time
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.checking import listed as shown
from support.examples import ACCESS_KEY, NOON, PERMANENT, SECRET_KEY, SESSION_TOKEN, TEMPORARY, clock_at, read
from support.readme import README, blocks
from support.subject import iamcacheauth
from support.vector_files import FOLDER, load

pytestmark = pytest.mark.commands

NOW = NOON + 60
SERVERLESS = ("ResourceType", "ServerlessCache")

# What explain says of signed(), below, at NOW; a case that claims something else says what.
CLAIMS = """\
service      ElastiCache, not serverless
cache        my-cache
user         my-iam-user
region       us-east-1
access key   AKIA…MPLE, permanent
signed       2026-01-02T12:00:00Z, 1 min ago
valid until  2026-01-02T12:15:00Z, 14 min left
"""
NOTHING = "Nothing is wrong with what it says. The rest only the service knows: run check."
HIDDEN = "(hidden: it may hold a secret)"
NO_USER = """\
No token can be for this user: the id of a user is wanted, letters, digits and hyphens, starting
with a letter, like 'my-iam-user'."""
NO_TOKEN = """\
This is not an IAM authentication token. One reads
NAME/?Action=connect&User=USER&X-Amz-Algorithm=…, NAME being the cache's own name."""
PASSWORD = """\
This is a password, a key or a piece of a token, not an IAM authentication token. Users of type
iam have no password: make a token with the token command."""
HEADER = """\
This is an Authorization header, which is for one HTTP request. A login takes a presigned URL:
make one with the token command."""
IN_URL = """\
It is the password in a URL, which outlives it and may end at its first '/'. Give it to the
client apart."""
IN_JSON = "It is a value in JSON. Pass on the value alone, without its quotes."
SET = "A variable is set to it. Pass on the value alone, without the name, '=' and quotes."
AS_KEY = "It stands behind a key and a colon, as in YAML. Pass on the value alone."
ENCODED = "All of it is percent-encoded, as for a URL. Pass it on as it was made."
NAMES = (
    "letters, digits and single hyphens, starting with a letter and not ending with a hyphen, are wanted, like"
    " 'my-cache'"
)
WORDS = "There are other words around it. Pass on the token alone."


def signed(
    host="my-cache", *more, user="my-iam-user", credentials=PERMANENT, age=0, service="elasticache", expires=900
):
    return iamcacheauth.presign(
        credentials,
        service=service,
        region="us-east-1",
        host=host,
        params=[("Action", "connect"), ("User", user), *more],
        timestamp=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOON - age)),
        expires=expires,
    )


def claiming(**changes):
    """CLAIMS with other values: the rows' names have an underscore for the space."""
    rows = {row[:13].rstrip(): row[13:] for row in CLAIMS.splitlines()}
    for name, value in changes.items():
        rows[name.replace("_", " ")] = value
    return "".join(f"{name:<13}{value}".rstrip() + "\n" for name, value in rows.items())


def without(*names):
    return "&".join(param for param in signed().split("&") if param.partition("=")[0] not in names)


def listed(*problems):
    return shown("What is wrong, the most certain first:", *problems)


def reordered(token):
    host, _, query = token.partition("?")
    return f"{host}?{'&'.join(reversed(query.split('&')))}"


CASES = {
    "nothing": (signed(), CLAIMS, NOTHING),
    "a line break at its end": (f"{signed()}\n", CLAIMS, NOTHING),
    "serverless": (signed("my-cache", SERVERLESS), claiming(service="ElastiCache Serverless"), NOTHING),
    "MemoryDB": (
        signed("my-cluster", service="memorydb"),
        claiming(service="MemoryDB", cache="my-cluster").replace("cache  ", "cluster"),
        NOTHING,
    ),
    "capitals in a user of MemoryDB's": (
        signed("my-cluster", user="My-User", service="memorydb"),
        claiming(service="MemoryDB", cache="my-cluster", user="My-User").replace("cache  ", "cluster"),
        "The user has capitals. AWS keeps it in lower case: sign for that.",
    ),
    "temporary key": (signed(credentials=TEMPORARY), claiming(access_key="ASIA…MPLE, temporary"), NOTHING),
    "another kind of key": (
        signed(credentials=iamcacheauth.StaticCredentials("ABIAIOSFODNN7EXAMPLE", SECRET_KEY)),
        claiming(access_key="ABIA…MPLE, of an unknown kind"),
        NOTHING,
    ),
    "another order": (reordered(signed()), CLAIMS, NOTHING),
    "lower-case escapes": (signed().replace("%2F", "%2f"), CLAIMS, NOTHING),
    "escapes left out": (
        signed(credentials=TEMPORARY).replace("%2F", "/").replace("%3D", "="),
        claiming(access_key="ASIA…MPLE, temporary"),
        NOTHING,
    ),
    "a percent sign in the user": (signed(user="a%2fb"), claiming(user=HIDDEN), NO_USER),
    "a question mark in the user": (signed(user="a?b"), claiming(user=HIDDEN), NO_USER),
    "a long user": (signed(user="a-" * 32), claiming(user="a-" * 32), NOTHING),
    "a user too long to be one": (signed(user="a" * 65), claiming(user=HIDDEN), NOTHING),
    "a URL for the user": (unquote(signed(user="a://b?c")), claiming(user=HIDDEN), NO_USER),
    "this second": (
        signed(age=-60),
        claiming(signed="2026-01-02T12:01:00Z, 0 s ago", valid_until="2026-01-02T12:16:00Z, 15 min left"),
        NOTHING,
    ),
    "the last second": (
        signed(age=839),
        claiming(signed="2026-01-02T11:46:01Z, 14 min 59 s ago", valid_until="2026-01-02T12:01:01Z, 1 s left"),
        NOTHING,
    ),
    "a slow clock": (
        signed(age=-360),
        claiming(signed="2026-01-02T12:06:00Z, in 5 min", valid_until="2026-01-02T12:21:00Z, 20 min left"),
        NOTHING,
    ),
    "expired": (
        signed(age=15 * 60),
        claiming(signed="2026-01-02T11:45:00Z, 16 min ago", valid_until="2026-01-02T12:00:00Z, 1 min ago"),
        "It expired 1 min ago. Sign a new one for every connection.",
    ),
    "expired this second": (
        signed(age=14 * 60),
        claiming(signed="2026-01-02T11:46:00Z, 15 min ago", valid_until="2026-01-02T12:01:00Z, 0 s ago"),
        "It expired 0 s ago. Sign a new one for every connection.",
    ),
    "expired an hour ago": (
        signed(age=74 * 60),
        claiming(signed="2026-01-02T10:46:00Z, 1 h 15 min ago", valid_until="2026-01-02T11:01:00Z, 1 h ago"),
        "It expired 1 h ago. Sign a new one for every connection.",
    ),
    "expired at once": (
        signed(expires=1),
        claiming(valid_until="2026-01-02T12:00:01Z, 59 s ago"),
        "It expired 59 s ago. Sign a new one for every connection.",
    ),
    "no lifetime": (
        signed().replace("Expires=900", "Expires=0"),
        claiming(valid_until="2026-01-02T12:00:00Z, 1 min ago"),
        """\
What is wrong, the most certain first:
1. Its lifetime, X-Amz-Expires, is not from 1 to 900 seconds. Sign with 900.
2. It expired 1 min ago. Sign a new one for every connection.""",
    ),
    "expired long ago": (
        signed(age=40 * 86400 + 7200),
        claiming(signed="2025-11-23T10:00:00Z, 40 d 2 h ago", valid_until="2025-11-23T10:15:00Z, 40 d 1 h ago"),
        "It expired 40 d 1 h ago. Sign a new one for every connection.",
    ),
    "not yet valid": (
        signed(age=-361),
        claiming(signed="2026-01-02T12:06:01Z, in 5 min 1 s", valid_until="2026-01-02T12:21:01Z, 20 min 1 s left"),
        "It is not valid yet. Set the clock of the machine that signed it, or of this one.",
    ),
    "lifetime": (
        signed(expires=3600),
        claiming(valid_until="2026-01-02T13:00:00Z, 59 min left"),
        "Its lifetime, X-Amz-Expires, is not from 1 to 900 seconds. Sign with 900.",
    ),
    "capitals in the name": (
        signed("My-X-Cache"),
        claiming(cache="My-X-Cache"),
        "The cache's name has capitals. AWS keeps it in lower case: sign for that.",
    ),
    "endpoint for the name": (
        signed("master.my-cache.abc123.use1.cache.amazonaws.com:6379"),
        claiming(cache="master.my-cache.abc123.use1.cache.amazonaws.com:6379"),
        "It is signed for an endpoint. Sign for the cache's name; it is probably 'my-cache'.",
    ),
    "endpoint of MemoryDB": (
        signed("clustercfg.mine.abc123.memorydb.us-east-1.amazonaws.com", service="memorydb"),
        claiming(service="MemoryDB", cache="clustercfg.mine.abc123.memorydb.us-east-1.amazonaws.com").replace(
            "cache  ", "cluster", 1
        ),
        "It is signed for an endpoint. Sign for the cluster's name; it is probably 'mine'.",
    ),
    "alias for the name": (
        signed("cache.example"),
        claiming(cache="cache.example"),
        "It is signed for an endpoint. Sign for the cache's name.",
    ),
    "a secret for the name": (
        signed(credentials=TEMPORARY).replace("my-cache", f"{SESSION_TOKEN[:8]}.example"),
        claiming(cache=HIDDEN, access_key="ASIA…MPLE, temporary"),
        "It is signed for an endpoint. Sign for the cache's name.",
    ),
    "no name": (
        signed()[len("my-cache") :],
        claiming(cache=""),
        """\
It does not start with the cache's name and '/?'. One reads
NAME/?Action=connect&User=USER&X-Amz-Algorithm=…, NAME being the cache's own name.""",
    ),
    "the end of another token": (
        f"{signed().rpartition('ature')[2]}{signed()}",
        claiming(cache=""),
        """\
It does not start with the cache's name and '/?'. One reads
NAME/?Action=connect&User=USER&X-Amz-Algorithm=…, NAME being the cache's own name.""",
    ),
    "no slash": (
        signed().replace("/?", "?"),
        CLAIMS,
        """\
It does not start with the cache's name and '/?'. One reads
NAME/?Action=connect&User=USER&X-Amz-Algorithm=…, NAME being the cache's own name.""",
    ),
    "capitals in the user": (
        signed(user="My-IAM-User"),
        claiming(user="My-IAM-User"),
        "The user has capitals. AWS keeps it in lower case: sign for that.",
    ),
    "session token lost": (
        signed(credentials=iamcacheauth.StaticCredentials(TEMPORARY.access_key, SECRET_KEY)),
        claiming(access_key="ASIA…MPLE, temporary"),
        "A temporary key (ASIA) signed it without its session token. Set AWS_SESSION_TOKEN as well.",
    ),
    "session token left over": (
        signed(credentials=iamcacheauth.StaticCredentials(ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)),
        CLAIMS,
        "A permanent key (AKIA) signed it with a session token. Unset AWS_SESSION_TOKEN.",
    ),
    "two dates": (
        signed().replace("%2F20260102%2F", "%2F20260101%2F"),
        CLAIMS,
        "X-Amz-Credential and X-Amz-Date differ in the date. Sign with one time, in UTC.",
    ),
    "another service": (
        signed(service="s3"),
        claiming(service="s3"),
        "It is signed for another service. Sign for elasticache or memorydb.",
    ),
    **{
        f"MemoryDB, {value}": (
            signed("my-cache", ("ResourceType", value), service="memorydb"),
            claiming(service="MemoryDB").replace("cache  ", "cluster"),
            "MemoryDB knows no ResourceType, as nothing there is serverless. Leave it out.",
        )
        for value in ("ServerlessCache", "Serverless")
    },
    **{
        f"misspelt: {name}={value}": (
            signed("my-cache", (name, value)),
            CLAIMS,
            "ResourceType is misspelt. It is ResourceType=ServerlessCache, or not there at all.",
        )
        for name, value in (
            ("ResourceType", "serverlesscache"),
            ("ResourceType", "Serverless"),
            ("resourceType", "ServerlessCache"),
            ("ResourceTypes", "ServerlessCache"),
        )
    },
    "scheme": (
        f"http://{unquote(signed(user='a://b?c'))}",
        claiming(user=HIDDEN),
        listed("It starts with a scheme. Remove everything up to and including '://'.", NO_USER),
    ),
    **{
        f"quotes: {mark}": (
            f"{mark}{signed()}{mark}",
            CLAIMS,
            "It is wrapped in quotes. Remove them: they are not part of it.",
        )
        for mark in "'\"`"
    },
    "quotes around capitals": (
        f"'{signed('X-Cache')}'",
        claiming(cache="X-Cache"),
        """\
What is wrong, the most certain first:
1. It is wrapped in quotes. Remove them: they are not part of it.
2. The cache's name has capitals. AWS keeps it in lower case: sign for that.""",
    ),
    "a line break before a question mark": (
        signed(user="a?b").replace("%3F", "?").replace("connect", "con\nnect"),
        claiming(user=HIDDEN),
        listed("It holds white space or a line break. Pass it on as one word.", NO_USER),
    ),
    "wrapped lines": (
        "\n".join(signed()[start : start + 76] for start in range(0, 999, 76)),
        CLAIMS,
        "It holds white space or a line break. Pass it on as one word.",
    ),
    "a whole AUTH command": (
        f"AUTH my-iam-user {signed()}",
        CLAIMS,
        WORDS,
    ),
    "encoded for a URL": (
        quote(signed(), safe=""),
        CLAIMS,
        "All of it is percent-encoded, as for a URL. Pass it on as it was made.",
    ),
    "encoded twice": (
        quote(signed(credentials=TEMPORARY), safe="/?&="),
        claiming(access_key="ASIA…MPLE, temporary"),
        "Percent-encoded twice: X-Amz-Credential, X-Amz-Security-Token. Pass the token on as it was made.",
    ),
    "escaped for HTML": (
        html.escape(signed()),
        CLAIMS,
        "Each '&' is written as in HTML, &amp;. Pass it on as it was made.",
    ),
    "escaped for JSON": (
        signed().replace("&", r"\u0026"),
        CLAIMS,
        r"Each '&' is written as in JSON, \u0026. Pass it on as it was made.",
    ),
    "plus signs": (
        signed(credentials=TEMPORARY).replace("%2B", "+"),
        claiming(access_key="ASIA…MPLE, temporary"),
        "A '+', which stands for a space: X-Amz-Security-Token. Pass the token on as it was made.",
    ),
    "a plus sign for a space": (
        signed(user="my user").replace("%20", "+"),
        claiming(user=HIDDEN),
        listed("A '+', which stands for a space: User. Pass the token on as it was made.", NO_USER),
    ),
    "a percent sign on its own": (
        signed(user="50%").replace("%25", "%"),
        claiming(user=HIDDEN),
        listed("A '%' that encodes nothing: User. Pass the token on as it was made.", NO_USER),
    ),
    "twice": (
        f"{signed()}&User=my-iam-user&X-Amz-Expires=900&a=b&a=c",
        CLAIMS,
        """\
What is wrong, the most certain first:
1. There twice: User, X-Amz-Expires, another parameter. Sign anew, with each parameter once.
2. It has parameters that no token has. Sign without them.""",
    ),
    "unknown parameters": (
        signed("my-cache", ("Version", "1"), ("Lifetime", "900")),
        CLAIMS,
        "It has parameters that no token has. Sign without them.",
    ),
    "cut off by a shell": (
        signed().partition("&")[0],
        "",
        """\
Missing: User, X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date, X-Amz-Expires,
X-Amz-SignedHeaders, X-Amz-Signature. Pass on all of it; in a shell, in quotes.""",
    ),
    "cut off in an escape": (
        signed()[: signed().index("F20260102")],
        "",
        """\
What is wrong, the most certain first:
1. Missing: X-Amz-Date, X-Amz-Expires, X-Amz-SignedHeaders, X-Amz-Signature. Pass on all of it;
   in a shell, in quotes.
2. A '%' that encodes nothing: X-Amz-Credential. Pass the token on as it was made.""",
    ),
    "cut off in the signature": (
        signed()[:-1],
        "",
        "X-Amz-Signature is not 64 hexadecimal digits in small letters. Sign anew, and pass on all of it.",
    ),
    "one missing": (without("X-Amz-Expires"), "", "Missing: X-Amz-Expires. Pass on all of it; in a shell, in quotes."),
    "the first missing": (
        signed().replace("Action=connect&", ""),
        "",
        "Missing: Action. Pass on all of it; in a shell, in quotes.",
    ),
    "an empty one": (
        signed().replace("User=my-iam-user", "User="),
        "",
        "Missing: User. Pass on all of it; in a shell, in quotes.",
    ),
    **{
        f"{name} is {value}": (
            "&".join(f"{name}={value}" if param.startswith(f"{name}=") else param for param in signed().split("&")),
            "",
            f"{name} is not {wanted}. Sign anew, and pass on all of it.",
        )
        for name, value, wanted in (
            ("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", ACCESS_KEY, "KEY/DATE/REGION/SERVICE/aws4_request"),
            (
                "X-Amz-Credential",
                f"{ACCESS_KEY}/20260102//elasticache/aws4_request",
                "KEY/DATE/REGION/SERVICE/aws4_request",
            ),
            ("X-Amz-Date", "2026-01-02T12:00:00Z", "a time like 20260102T030405Z"),
            ("X-Amz-Expires", "15min", "a number of seconds"),
            ("X-Amz-Expires", "9" * 5000, "a number of seconds"),
            ("X-Amz-SignedHeaders", "host;date", "host"),
            ("X-Amz-Signature", "0" * 63 + "G", "64 hexadecimal digits in small letters"),
        )
    },
    "another action": (
        signed().replace("=connect", "=Connect"),
        "",
        "Action is not connect. Sign anew, and pass on all of it.",
    ),
    "a day that is not": (
        signed().replace("20260102", "20260230"),
        "\n".join(CLAIMS.splitlines()[:5]) + "\n",
        "X-Amz-Date is no time there is. Sign anew.",
    ),
    "a password": ("hunter2", "", PASSWORD),
    **{
        f"a token of {service}": (token, "", f"This is a token for {what}. Make one with the token command.")
        for service, what, token in (
            (
                "RDS",
                "a database of RDS",
                "db.abc123.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=me&X-Amz-Algorithm=AWS4-HMAC-SHA256"
                f"&X-Amz-Credential={ACCESS_KEY}%2F20260102%2Fus-east-1%2Frds-db%2Faws4_request"
                "&X-Amz-Date=20260102T120000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=00",
            ),
            ("RDS, with our parameters", "a database of RDS", signed(service="rds-db")),
            ("DSQL", "Aurora DSQL", signed(service="dsql").replace("connect", "DbConnectAdmin")),
            (
                "MSK",
                "Kafka (MSK)",
                base64.urlsafe_b64encode(
                    b"https://" + signed(service="kafka-cluster").replace("connect", "kafka-cluster%3AConnect").encode()
                )
                .decode()
                .rstrip("="),
            ),
        )
    },
    "a cache that is called like another service": (
        signed("my-rds-db-cache"),
        claiming(cache="my-rds-db-cache"),
        NOTHING,
    ),
    **{
        f"an Authorization header {number}": (header, "", HEADER)
        for number, header in enumerate(
            (
                f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260102/us-east-1/elasticache/aws4_request,"
                f" SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
                f"Authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260102/us-east-1/elasticache/aws4_request,"
                f"SignedHeaders=host;x-amz-date,Signature={'0' * 64}",
            )
        )
    },
    "a secret key": (SECRET_KEY, "", PASSWORD),
    "the end of a token": (signed()[-64:], "", PASSWORD),
    # what is around it
    **{
        f"wrapped: {text[:30]} {number}": (text, CLAIMS, problem)
        for number, (text, problem) in enumerate(
            (
                (
                    f"redis-cli --user me --pass '{signed()}' ping",
                    listed(WORDS, "It is wrapped in quotes. Remove them: they are not part of it."),
                ),
                (f"AUTH my-iam-user {signed()}\r\n", WORDS),
                (f"redis-cli --user me -a {signed()} -h localhost", WORDS),
                (f"rediss://my-iam-user:{signed()}@localhost:6379/0", IN_URL),
                (f"rediss://:{quote(signed(), safe='')}@localhost:6379", IN_URL),
                (json.dumps({"password": signed()}), IN_JSON),
                (json.dumps({"user": "my-iam-user", "password": signed(), "ssl": True}, indent=2), IN_JSON),
                (json.dumps([signed()]), IN_JSON),
                (str({"password": signed()}), IN_JSON),
                (f"set REDISCLI_AUTH={signed()}", SET),
                (f"redis-cli --pass={signed()}", SET),
                (f"REDISCLI_AUTH={signed()}", SET),
                (f'REDISCLI_AUTH="{signed()}"', SET),
                (f"export REDISCLI_AUTH='{signed()}'", SET),
                (f"REDIS_PASSWORD={quote(signed(), safe='')}", listed(SET, ENCODED)),
                (f'REDIS_URL="rediss://me:{signed()}@localhost"', listed(SET, IN_URL)),
                (f"password: {signed()}", AS_KEY),
                (f'  - auth-token: "{signed()}"', AS_KEY),
                (f"user: me\npassword: {signed()}", listed(AS_KEY, WORDS)),
                (base64.b64encode(signed().encode()).decode(), "All of it is base64. Pass it on as it was made."),
                (signed() + "'", "It is wrapped in quotes. Remove them: they are not part of it."),
            )
        )
    },
    # parts that cannot be right
    **{
        f"region {region}": (
            signed().replace("us-east-1", region),
            claiming(region=region),
            listed(f"No token can be for this region: a region is wanted{why}."),
        )
        for region, why in (
            ("us-east-1a", "; this is an availability zone of us-east-1"),
            ("use1", ", in lower case, like 'us-east-1'"),
            ("US-EAST-1", ", in lower case, like 'us-east-1'"),
            ("us_east_1", ", in lower case, like 'us-east-1'"),
        )
    },
    **{
        f"key id {kind}": (
            signed(credentials=iamcacheauth.StaticCredentials(f"{kind}IOSFODNN7EXAMPLE", SECRET_KEY)),
            claiming(access_key=f"{kind}…MPLE, a {whose}'s, no key's"),
            f"The access key id is a {whose}'s, no key's. Sign with a key, whose id starts with AKIA or ASIA.",
        )
        for kind, whose in (("AIDA", "user"), ("AROA", "role"))
    },
    **{
        f"name {name}": (signed(name), claiming(cache=name), listed(f"No token can be for this cache: {why}."))
        for name, why in (
            *((name, NAMES) for name in ("my-cache-", "my--cache", "1st-cache", "my_cache")),
            ("a-" * 20 + "a", "at most 40 characters are wanted, as AWS allows no longer name"),
        )
    },
    "a long name of a serverless cache": (
        signed("a-" * 20 + "a", SERVERLESS),
        claiming(service="ElastiCache Serverless", cache="a-" * 20 + "a"),
        NOTHING,
    ),
    "the user default": (
        signed(user="default"),
        claiming(user="default"),
        listed(
            "No token can be for this user: ElastiCache's user 'default' cannot log in by IAM; name one of type iam."
        ),
    ),
    "the user of public endpoints": (signed(user="default.iam-user"), claiming(user="default.iam-user"), NOTHING),
    "local time, ahead": (
        signed(age=-2 * 3600),
        claiming(signed="2026-01-02T14:00:00Z, in 1 h 59 min", valid_until="2026-01-02T14:15:00Z, 2 h 14 min left"),
        listed(
            "It is not valid yet. Set the clock of the machine that signed it, or of this one.",
            "Its time is 2 h off. If it was just made, local time was taken for UTC. Sign with the time in UTC.",
        ),
    ),
    "local time, behind": (
        signed(age=8 * 3600),
        claiming(signed="2026-01-02T04:00:00Z, 8 h 1 min ago", valid_until="2026-01-02T04:15:00Z, 7 h 46 min ago"),
        listed(
            "It expired 7 h 46 min ago. Sign a new one for every connection.",
            "Its time is 8 h off. If it was just made, local time was taken for UTC. Sign with the time in UTC.",
        ),
    ),
    "capitals in a parameter's name": (
        signed(credentials=TEMPORARY).replace("X-Amz-Security", "x-amz-security"),
        claiming(access_key="ASIA…MPLE, temporary"),
        listed("Not written with AWS's capitals: X-Amz-Security-Token. Sign anew, with the names as AWS writes them."),
    ),
    "a signature in capitals": (
        signed()[:-64] + signed()[-64:].upper(),
        "",
        "X-Amz-Signature is not 64 hexadecimal digits in small letters. Sign anew, and pass on all of it.",
    ),
    "no token, but words": ("Please let me in", "", NO_TOKEN),
    "another URL": ("https://example.com/?a=b&a=c&d=%", "", NO_TOKEN),
    "nothing at all": ("", "", NO_TOKEN),
    "only white space": (" \n\t\n", "", NO_TOKEN),
    "the most certain first": (
        "https://"
        + signed(
            "My-Cache",
            ("Version", "1"),
            user="Me",
            credentials=iamcacheauth.StaticCredentials(TEMPORARY.access_key, SECRET_KEY),
            age=86400,
            expires=901,
        ).replace("%2F20260101%2F", "%2F20260102%2F"),
        claiming(
            cache="My-Cache",
            user="Me",
            access_key="ASIA…MPLE, temporary",
            signed="2026-01-01T12:00:00Z, 1 d 1 min ago",
            valid_until="2026-01-01T12:15:01Z, 23 h 45 min ago",
        ),
        """\
What is wrong, the most certain first:
1. It starts with a scheme. Remove everything up to and including '://'.
2. The cache's name has capitals. AWS keeps it in lower case: sign for that.
3. The user has capitals. AWS keeps it in lower case: sign for that.
4. A temporary key (ASIA) signed it without its session token. Set AWS_SESSION_TOKEN as well.
5. Its lifetime, X-Amz-Expires, is not from 1 to 900 seconds. Sign with 900.
6. X-Amz-Credential and X-Amz-Date differ in the date. Sign with one time, in UTC.
7. It expired 23 h 45 min ago. Sign a new one for every connection.
8. It has parameters that no token has. Sign without them.""",
    ),
}


def explained(text, now=NOW, encoding="utf-8"):
    """The exit status and the output for what comes on the standard input."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    with clock_at(now), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        patch.setattr(sys, "stdout", output)
        patch.setattr(sys, "stderr", None)  # nobody needs to see anything there
        return iamcacheauth.main(["explain"]), output.buffer.getvalue().decode()


@pytest.mark.parametrize(("token", "claims", "problems"), CASES.values(), ids=CASES)
def test_it_says(token, claims, problems):
    status, output = explained(token)
    assert output == (f"{claims}\n" if claims else "") + f"{problems}\n"
    assert status == (0 if problems == NOTHING else 1)
    assert max(map(len, output.splitlines())) <= 100


def test_an_output_that_knows_no_ellipsis():
    assert explained(signed(), encoding="ascii") == (0, f"{CLAIMS}\n{NOTHING}\n".replace("…", r"\u2026"))


def test_every_token_that_botocore_made():
    """What the vectors hold, a minute after it was signed: all is well but for what some say on purpose."""
    for path in FOLDER.glob("tokens_*.json"):
        for case in load(path):
            signed_with = case["input"]
            host, params = read(case["token"])
            moment = calendar.timegm(time.strptime(signed_with["timestamp"], "%Y%m%dT%H%M%SZ"))
            status, output = explained(case["token"], moment + 60)
            is_right = accepted(signed_with["service"], host, params)
            if signed_with["access_key"].startswith("ASIA") and not signed_with["session_token"]:
                is_right = False
            assert status == (not is_right), (case["id"], output)
            rows = {row[:13].rstrip(): row[13:] for row in output.splitlines()}
            assert rows["region"] == signed_with["region"]
            assert rows["user"] in (params["User"], HIDDEN)


def accepted(service, host, params):
    """Whether the module would make a token like this."""
    region = params["X-Amz-Credential"].split("/")[2]
    try:
        if service == "memorydb":
            auth = iamcacheauth.MemoryDBAuth(params["User"], host, region=region)
        else:
            auth = iamcacheauth.ElastiCacheAuth(
                params["User"], host, region=region, serverless="ResourceType" in params
            )
    except iamcacheauth.ConfigurationError:
        return False
    return (auth.user, auth.name) == (params["User"], host)


@pytest.mark.skipif(not README.exists(), reason="a vendored copy comes without the README")
def test_what_the_readme_shows():
    (shown,) = blocks("text", "valid until")
    token = iamcacheauth.presign(
        iamcacheauth.StaticCredentials(TEMPORARY.access_key, SECRET_KEY),
        service="elasticache",
        region="us-east-1",
        host="my-cache",
        params=[("Action", "connect"), ("User", "my-iam-user"), SERVERLESS],
        timestamp="20260102T030405Z",
    )
    assert explained(token, calendar.timegm((2026, 1, 2, 3, 4, 47)))[1] == shown


# --- is the signature right? ---

RIGHT = "signature    right for the keys in this environment\n"
NOT_RIGHT = "signature    not right for the keys in this environment\n"
OTHER_KEY = "It was signed with another secret key than this environment's, or changed after that. Make a new one."
EMPTY_HASH = hashlib.sha256(b"").hexdigest()


def encoded(pairs, quoting=lambda text: quote(text, safe="")):
    return [f"{quoting(name)}={quoting(value)}" for name, value in pairs]


def hand_made(
    start="my-cache/",
    host="my-cache",
    method="GET",
    path="/",
    canonical=lambda pairs: sorted(encoded(pairs)),
    payload=EMPTY_HASH,
    timestamp="20260102T120000Z",
    day="20260102",
    added=(),
    credentials=PERMANENT,
    expires="900",
):
    """A token of somebody's own signer, which makes mistakes on demand; what is ``added`` is not signed."""
    scope = "20260102/us-east-1/elasticache/aws4_request"
    session_token = [("X-Amz-Security-Token", credentials.token)] if credentials.token else []
    pairs = [
        ("Action", "connect"),
        ("User", "my-iam-user"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", f"{credentials.access_key}/{scope}"),
        ("X-Amz-Date", "20260102T120000Z"),
        ("X-Amz-Expires", expires),
        ("X-Amz-SignedHeaders", "host"),
        *session_token,
    ]
    query = "&".join(canonical([pair for pair in pairs if pair[0] not in added]))
    request = f"{method}\n{path}\n{query}\nhost:{host}\n\nhost\n{payload}"
    text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (day, "us-east-1", "elasticache", "aws4_request", text):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return f"{start}?{'&'.join([*encoded(pairs), f'X-Amz-Signature={key.hex()}'])}"


@pytest.fixture
def keys(monkeypatch):
    """The keys in the environment: the permanent ones, or the temporary ones if called."""

    def use(credentials):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_key)
        if credentials.token:
            monkeypatch.setenv("AWS_SESSION_TOKEN", credentials.token)

    use(PERMANENT)
    return use


@pytest.mark.parametrize("credentials", [PERMANENT, TEMPORARY], ids=["permanent", "temporary"])
@pytest.mark.parametrize("make", [signed, hand_made], ids=["ours", "another signer"])
def test_a_right_signature(keys, credentials, make):
    keys(credentials)
    claims = claiming(access_key="ASIA…MPLE, temporary") if credentials.token else CLAIMS
    assert explained(make(credentials=credentials)) == (0, f"{claims}{RIGHT}\n{NOTHING}\n")
    assert explained(reordered(make(credentials=credentials))) == (0, f"{claims}{RIGHT}\n{NOTHING}\n")


def test_a_session_token_that_the_environment_does_not_have(keys, monkeypatch):
    keys(TEMPORARY)
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    claims = claiming(access_key="ASIA…MPLE, temporary")
    assert explained(signed(credentials=TEMPORARY)) == (0, f"{claims}{RIGHT}\n{NOTHING}\n")


@pytest.mark.parametrize(
    ("ago", "hours"), [(3600, 1), (4199, 1), (50999, 14), (-3600, 1), (-50400, 14), (3599, 0), (4200, 0), (54000, 0)]
)
def test_local_time(ago, hours):
    output = explained(signed(age=ago - 60))[1]
    assert ("h off" in output, f"Its time is {hours} h off" in output) == (bool(hours), bool(hours))


def test_the_longest_name():
    too_long = "No token can be for this cache: at most 40 characters are wanted, as AWS allows no longer name."
    assert too_long in explained(signed("a" * 41))[1]
    for token in (signed("a" * 40), signed("a" * 41, SERVERLESS), signed("a" * 41, service="memorydb")):
        assert NOTHING in explained(token)[1]


def test_an_honest_lifetime_that_is_shorter(keys):
    claims = claiming(valid_until="2026-01-02T12:14:59Z, 13 min 59 s left")
    assert explained(hand_made(expires="899")) == (0, f"{claims}{RIGHT}\n{NOTHING}\n")


@pytest.mark.parametrize(
    "environ",
    [{}, {"AWS_SECRET_ACCESS_KEY": SECRET_KEY}, {"AWS_ACCESS_KEY_ID": ACCESS_KEY}, {"AWS_ACCESS_KEY_ID": "AKIA"}],
)
def test_keys_that_are_not_those_of_the_token(monkeypatch, environ):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert explained(hand_made(method="POST")) == (0, f"{CLAIMS}\n{NOTHING}\n")


SPELLED = "The signature is right, for another spelling of the start. Write it as it was signed:"


@pytest.mark.parametrize(
    ("start", "cache"),
    [
        ("my-cache", "my-cache"),
        ("my-cache//", "my-cache"),
        ("My-Cache/", "My-Cache"),
        ("my-cache:443/", "my-cache:443"),
        ("my-cache:80/", "my-cache:80"),
    ],
)
def test_only_the_spelling_differs(keys, start, cache):
    """As botocore signs them, of which at least one was seen to log in."""
    says = listed(f"{SPELLED} my-cache/?Action=connect&…")
    assert explained(hand_made(start)) == (1, f"{claiming(cache=cache)}{RIGHT}\n{says}\n")


MISTAKES = {
    "UNSIGNED-PAYLOAD": (
        {"payload": "UNSIGNED-PAYLOAD"},
        "It was signed with UNSIGNED-PAYLOAD: sign the SHA-256 of an empty payload.",
    ),
    "no hash": ({"payload": ""}, "It was signed with no payload hash: sign the SHA-256 of an empty payload."),
    "POST": ({"method": "POST"}, "It was signed as a POST request: sign a GET request."),
    "no path": ({"path": ""}, "It was signed without a path: sign for the path '/'."),
    "two slashes": ({"path": "//"}, "It was signed for the path '//': sign for the path '/'."),
    "unsorted": (
        {"canonical": lambda pairs: reversed(encoded(pairs)), "reorder": True},
        "It was signed with unsorted parameters: sort the canonical query by name.",
    ),
    "encoded twice": (
        {"canonical": lambda pairs: sorted(encoded(pairs, lambda text: quote(quote(text, safe=""), safe="")))},
        "It was signed with parameters encoded twice: encode them once.",
    ),
    "not encoded": (
        {"canonical": lambda pairs: sorted(encoded(pairs, str))},
        "It was signed with parameters that were not encoded: encode them once.",
    ),
    "small letters": (
        {"canonical": lambda pairs: sorted(encoded((n.lower() if "Token" in n else n, v) for n, v in pairs))},
        "It was signed with x-amz-security-token in small letters: sign it in AWS's.",
    ),
    "port": ({"host": "my-cache:6379"}, "It was signed for the name with a port: sign for the name alone."),
    **{
        f"{name} added": ({"added": [name]}, f"It was signed before {name} was added: add it first.")
        for name in ("User", "X-Amz-Expires", "X-Amz-Security-Token")
    },
    **{
        f"at {timestamp}": (
            {"timestamp": timestamp},
            "It was signed for another second than X-Amz-Date says: read the clock once.",
        )
        for timestamp in ("20260102T115958Z", "20260102T120001Z")
    },
    **{
        f"on {day}": (
            {"day": day},
            "It was signed with another day's key than X-Amz-Credential says: read the clock once.",
        )
        for day in ("20260101", "20260103")
    },
    "another secret key": (
        {"credentials": iamcacheauth.StaticCredentials(TEMPORARY.access_key, SECRET_KEY[::-1], SESSION_TOKEN)},
        OTHER_KEY,
    ),
    "two mistakes": ({"method": "POST", "path": ""}, OTHER_KEY),
}


@pytest.mark.parametrize(("made", "mistake"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_a_hand_made_signer(keys, made, mistake):
    keys(TEMPORARY)
    made = {"credentials": TEMPORARY, **made}
    token = reordered(hand_made(**made)) if made.pop("reorder", False) else hand_made(**made)
    says = listed(mistake)
    claims = claiming(access_key="ASIA…MPLE, temporary")
    assert explained(token) == (1, f"{claims}{NOT_RIGHT}\n{says}\n")


def test_a_signature_for_what_is_wrong_otherwise(keys):
    """It is right for what the token says."""
    says = "It is signed for an endpoint. Sign for the cache's name."
    token = hand_made("cache.example/", host="cache.example")
    assert explained(token) == (1, f"{claiming(cache='cache.example')}{RIGHT}\n{says}\n")
    says = "The cache's name has capitals. AWS keeps it in lower case: sign for that."
    token = hand_made("My-Cache/", host="My-Cache")
    assert explained(token) == (1, f"{claiming(cache='My-Cache')}{RIGHT}\n{says}\n")


def test_a_parameter_that_was_added_and_may_be_a_secret(keys):
    token = signed("my-cache").replace("&X-Amz-Signature", f"&{SESSION_TOKEN[:12]}=1&X-Amz-Signature")
    says = listed(
        "It was signed before another parameter was added: add it first.",
        "It has parameters that no token has. Sign without them.",
    )
    assert explained(token) == (1, f"{CLAIMS}{NOT_RIGHT}\n{says}\n")


def test_a_session_token_of_others(keys, monkeypatch):
    keys(TEMPORARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN[::-1])
    says = listed(
        "Its session token is not that of this environment, though the key is: it was cut or changed on the way."
    )
    claims = claiming(access_key="ASIA…MPLE, temporary")
    assert explained(signed(credentials=TEMPORARY)) == (1, f"{claims}{RIGHT}\n{says}\n")


def test_a_time_that_cannot_be_signed(keys):
    token = signed().replace("20260102", "20260230")
    claims = "\n".join(CLAIMS.splitlines()[:5])
    assert explained(token) == (1, f"{claims}\n\nX-Amz-Date is no time there is. Sign anew.\n")


# --- what comes on the standard input ---


@pytest.mark.parametrize(
    "content",
    [
        b"\0\xff\xfe\x80",
        bytes(range(256)) * 10,
        signed().encode("utf-16"),
        b"a" * 2**20,
        b"?&" * 2**19,
        b"%3f" * 2**18,
        b"?" + b"%25" * 2**18,
    ],
    ids=["binary", "every byte", "UTF-16", "1 MB", "1 MB of separators", "1 MB of escapes", "1 MB encoded twice"],
)
def test_what_is_no_text(content):
    assert explained(content) == (1, f"{NO_TOKEN}\n")


def test_a_token_before_a_megabyte_of_something_else():
    status, output = explained(f"{signed(credentials=TEMPORARY)}{' x' * 2**19}")
    expected = claiming(access_key="ASIA…MPLE, temporary")
    assert (status, output) == (1, f"{expected}\n{WORDS}\n")


def test_input_without_an_end(monkeypatch):
    class Endless(io.StringIO):
        def read(self, size=-1):
            return "a" * size

    monkeypatch.setattr(sys, "stdin", Endless())
    assert iamcacheauth.main(["explain"]) == 1


def test_a_stream_of_text(capsys, monkeypatch):
    """Some programs put one in the place of sys.stdin that has no bytes behind it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(signed()))
    with clock_at(NOW):
        assert iamcacheauth.main(["explain"]) == 0
    assert capsys.readouterr() == (f"{CLAIMS}\n{NOTHING}\n", "")


def test_no_standard_input(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert iamcacheauth.main(["explain"]) == 2
    assert capsys.readouterr() == ("", "iamcacheauth: explain: there is no standard input to read a token from\n")


def test_a_terminal_is_told_what_to_do(capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("hunter2"))
    assert iamcacheauth.main(["explain"]) == 1
    assert capsys.readouterr() == (f"{PASSWORD}\n", "Paste a token and end the input (Ctrl-D).\n")


def run(*arguments, token="", shell="", **environment):
    """The command as a process of its own, which a shell starts if there is something to redirect."""
    wanted = [sys.executable, "-I", "-S", "-W", "error", "-bb", "-X", "dev", "-X", "utf8", iamcacheauth.__file__]
    wrapped = ["sh", "-c", f'exec "$0" "$@" {shell}'] if shell else []
    return subprocess.run(
        [*wrapped, *wanted, *arguments],
        input=token.encode(),
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
    )


def test_a_token_piped_from_one_process_to_another():
    variables = {
        "AWS_ACCESS_KEY_ID": TEMPORARY.access_key,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": SESSION_TOKEN,
    }
    token = run("token", "elasticache", "me", "my-cache", "--serverless", "--region", "eu-west-2", **variables)
    process = run("explain", token=token.stdout.decode())
    assert (process.returncode, process.stderr) == (0, b"")
    *claims, _, _, empty, last = process.stdout.decode().splitlines()
    assert claims == [
        "service      ElastiCache Serverless",
        "cache        my-cache",
        "user         me",
        "region       eu-west-2",
        "access key   ASIA…MPLE, temporary",
    ]
    assert (empty, last) == ("", NOTHING)


def test_a_refused_token_in_a_process_of_its_own():
    process = run("explain", token=f"http://{signed()}")
    assert (process.returncode, process.stderr) == (1, b"")
    assert "1. It starts with a scheme." in process.stdout.decode()
    assert "2. It expired " in process.stdout.decode()


@pytest.mark.skipif(os.name == "nt", reason="only a shell of POSIX closes a stream")
def test_a_closed_standard_input():
    process = run("explain", shell="<&-")
    assert (process.returncode, process.stdout) == (2, b"")
    assert process.stderr == b"iamcacheauth: explain: there is no standard input to read a token from\n"


# --- what it must never say ---

# Real session tokens are this long, and as random.
LONG_SESSION_TOKEN = base64.b64encode(b"".join(hashlib.sha512(b"%d" % number).digest() for number in range(6))).decode()
TOKEN = signed(credentials=iamcacheauth.StaticCredentials(TEMPORARY.access_key, SECRET_KEY, LONG_SESSION_TOKEN))
SECRETS = [LONG_SESSION_TOKEN, quote(LONG_SESSION_TOKEN, safe=""), TOKEN.rpartition("=")[2]]
PIECES = {secret[start : start + 12] for secret in SECRETS for start in range(len(secret) - 11)}

POSITIONS = st.integers(0, len(TOKEN))
REWRITINGS = (
    quote,
    unquote,
    html.escape,
    str.upper,
    str.lower,
    json.dumps,
    lambda piece: piece[::-1],
    lambda piece: "",
)


@st.composite
def mangled_tokens(draw):
    text = TOKEN
    for rewriting in draw(st.lists(st.sampled_from([*REWRITINGS, lambda piece: piece * 2]), max_size=4)):
        start, end = sorted((draw(POSITIONS), draw(POSITIONS)))
        text = text[:start] + rewriting(text[start:end]) + text[end:]
    for separator in draw(st.lists(st.sampled_from([*"&=?/%+ \n'\"", "://", "X-Amz-", "User=", "%3F"]), max_size=3)):
        position = draw(POSITIONS)
        text = text[:position] + separator + text[position:]
    host, question_mark, query = text.partition("?")
    return host + question_mark + "&".join(draw(st.permutations(query.split("&")))[draw(st.integers(0, 2)) :])


def assert_nothing_secret(output):
    shown = {piece for piece in PIECES if piece in output}
    assert not shown, f"{shown} in:\n{output}"


@given(mangled_tokens(), st.booleans())
def test_mangled_tokens(text, with_its_keys):
    with pytest.MonkeyPatch.context() as patch:
        if with_its_keys:
            patch.setenv("AWS_ACCESS_KEY_ID", TEMPORARY.access_key)
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        status, output = explained(text)
    assert_nothing_secret(output)
    assert (status == 0) == (NOTHING in output)
    assert all(line.isprintable() for line in output.splitlines())


@given(st.text() | st.binary())
def test_any_input(content):
    status, output = explained(content)
    assert status == 1
    assert all(line.isprintable() for line in output.splitlines())


def test_pieces_where_the_names_should_be():
    """The worst damage: one piece out of the middle, so that two values run into each other."""
    for start, end in itertools.product((4, TOKEN.index("iam-user")), range(TOKEN.index("&X-Amz"), len(TOKEN), 12)):
        assert_nothing_secret(explained(TOKEN[:start] + TOKEN[end:])[1])


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_also_somewhere_else(secret):
    for changed, end in (("my-cache/", "/"), ("my-cache/", ":6379/"), ("my-iam-user", "r"), ("us-east-1", "1")):
        token = TOKEN.replace(changed, f"a{secret[8:20]}{end}", 1)
        for spelt in (token, token.replace("X-Amz-S", "x-amz-s")):
            output = explained(spelt)[1]
            assert_nothing_secret(output)
            assert HIDDEN in output
    assert HIDDEN in explained(TOKEN.replace("my-iam-user", secret[8:16], 1))[1]


def test_a_piece_of_a_signature_beside_which_there_is_another():
    signature = TOKEN.rpartition("=")[2]
    output = explained(f"{TOKEN.replace('us-east-1', f'a{signature[8:20]}1', 1)}&X-Amz-Signature={'0' * 64}")[1]
    assert_nothing_secret(output)
    assert HIDDEN in output


def test_a_piece_of_a_secret_in_front_of_the_token():
    session_token = TEMPORARY.token
    token = TOKEN.replace("us-east-1", f"a{session_token[8:20]}1", 1)
    output = explained(
        f"User=a&X-Amz-Security-Token={session_token}&{token.replace(quote(session_token, safe=''), 'x')}"
    )[1]
    assert session_token[8:20] not in output


def test_an_encoded_piece_of_a_secret():
    secret = "+/" * 8
    token = signed(credentials=iamcacheauth.StaticCredentials(TEMPORARY.access_key, SECRET_KEY, secret))
    assert f"cache        {HIDDEN}\n" in explained(token.replace("my-cache", quote(secret, safe="")))[1]


@given(
    user=st.from_regex("[a-z][a-z0-9-]{0,30}", fullmatch=True).filter(lambda user: user != "default"),
    order=st.randoms(use_true_random=False),
    lower=st.booleans(),
)
def test_whole_tokens_of_other_makers(user, order, lower):
    host, _, query = signed(user=user, credentials=TEMPORARY).partition("?")
    params = query.split("&")
    order.shuffle(params)
    token = f"{host}?{'&'.join(params)}"
    status, output = explained(token.replace("%2F", "%2f") if lower else token)
    assert (status, output) == (
        0,
        f"{claiming(user=user, access_key='ASIA…MPLE, temporary')}\n{NOTHING}\n",
    )
