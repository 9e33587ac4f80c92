"""Wrong arguments: refused at construction, by the argument's name, with what to write instead, in one line."""

from __future__ import annotations

import datetime
import enum
import string
import traceback
import types

import pytest
from support.examples import ACCESS_KEY, NOON, PERMANENT, SECRET_KEY, SESSION_TOKEN, clock_at, label
from support.subject import iamcacheauth

ConfigurationError = iamcacheauth.ConfigurationError
SERVICES = {"cache": iamcacheauth.ElastiCacheAuth, "cluster": iamcacheauth.MemoryDBAuth}
every_service = pytest.mark.parametrize("noun", SERVICES)


def construct(noun, user="iam-user", name="my-name", region="us-east-1", **others):
    return SERVICES[noun](user, name, region=region, credentials=PERMANENT, **others)


def refusal(argument, call, *args, **kwargs):
    """The one line that a ConfigurationError says after the argument's name."""
    with pytest.raises(ConfigurationError) as caught:
        call(*args, **kwargs)
    name, _, text = str(caught.value).partition(": ")
    assert name == argument
    assert text
    assert text.isprintable()
    return text


@every_service
@pytest.mark.parametrize(
    "user",
    [
        *(
            " ",
            "iam user",
            "iam-user\n",
            "\tiam-user",
            "iam\u00a0user",
            "iam\x00user",
            "iam-user\u200b",
            "\ufeffiam-user",
        ),
        *(
            "-",
            "-user",
            "1user",
            "0",
            "\u0663user",
            "user\u0663",
            "\u00fcser",
            "us\u00e9r",
            "iam-user\ud800",
            "\u212aate",  # the Kelvin sign, a k in lower case
            "\U0001f980",
        ),
        *("iam_user", "iam.user", "user@example.com", "u+v", "user%2D", "u&Action=connect", "user*", "~user"),
        *(".", "default.", ".iam-user", "default.1", "default.-", "default.default.u", "default..u", "defaultx.u"),
        *("arn:aws:elasticache:us-east-1:123456789012:user:iam-user", SECRET_KEY, f"{ACCESS_KEY}:{SECRET_KEY}"),
    ],
    ids=label,
)
def test_user(noun, user):
    assert refusal("user", construct, noun, user=user) == (
        "the id of a user is wanted, letters, digits and hyphens, starting with a letter, like 'my-iam-user'"
    )


@pytest.mark.parametrize("user", ["default", "Default", "DEFAULT"])
def test_elasticaches_user_default_has_no_iam_login(user):
    text = refusal("user", construct, "cache", user=user)
    assert text == "ElastiCache's user 'default' cannot log in by IAM; name one of type iam"


@pytest.mark.parametrize("user", ["default.iam-user", "DEFAULT.IAM-User", "default.u"])
def test_only_elasticache_has_users_with_a_dot(user):
    assert construct("cache", user=user).user == user.lower()
    refusal("user", construct, "cluster", user=user)


# https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateUser.html
# https://docs.aws.amazon.com/memorydb/latest/APIReference/API_CreateUser.html
@every_service
@pytest.mark.parametrize(
    "user", ["u", "U", "u1", "u-", "u--1--", "IAM-User-01", "default-user", "defaults", "x" * 256, string.ascii_letters]
)
def test_users_as_aws_allows_them(noun, user):
    assert construct(noun, user=user).user == user.lower()


def described(value):
    """A value that is no text, or none to speak of, as errors call it."""
    return "empty text" if value == "" else f"an object of type {type(value).__name__}"


@pytest.mark.parametrize("value", [None, 5, b"hunter2", ["hunter2"], ""], ids=repr)
@pytest.mark.parametrize(
    ("argument", "wanted", "use"),
    [
        ("user", "the id of a user with IAM authentication", lambda value: construct("cache", user=value)),
        ("cache", "a name like 'my-cache'", lambda value: construct("cache", name=value)),
        ("cluster", "a name like 'my-cluster'", lambda value: construct("cluster", name=value)),
        ("serverless", "True or False", lambda value: construct("cache", serverless=value)),
        ("access_key", "text", lambda value: iamcacheauth.StaticCredentials(value, SECRET_KEY)),
        ("secret_key", "text", lambda value: iamcacheauth.StaticCredentials(ACCESS_KEY, value)),
        ("fetch", "a callable without arguments", lambda value: iamcacheauth.RefreshingCredentials(value)),
    ],
)
def test_what_is_wanted_and_what_was_given(argument, wanted, use, value):
    assert refusal(argument, use, value).endswith(f"{wanted} is wanted, not {described(value)}")


@every_service
@pytest.mark.parametrize(
    "name",
    [
        *(" ", "-name", "1name", "my_name", "my name", "name\n", "n\u00e4me"),
        *("\u0663name", "name\ud800", "my-cache?Action=connect", "na%2Dme", "name*"),
        *("-", "name-", "my--name", "my---name", "name--"),
    ],
    ids=label,
)
def test_name(noun, name):
    assert refusal(noun, construct, noun, name=name) == (
        "letters, digits and single hyphens, starting with a letter and not ending with a hyphen, are wanted,"
        f" like 'my-{noun}'"
    )


# https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html
@every_service
@pytest.mark.parametrize("name", ["a", "A", "a1", "a-1", "A-b-C", "a" * 40, "a-" * 19 + "a0"])
def test_names_as_aws_allows_them(noun, name):
    assert construct(noun, name=name).name == name.lower()


def test_only_replication_groups_have_a_longest_name():
    text = refusal("cache", construct, "cache", name="a" * 41)
    assert text == "at most 40 characters are wanted, as AWS allows no longer name"
    assert construct("cache", name="a" * 63, serverless=True).name == "a" * 63
    assert construct("cluster", name="a" * 63).name == "a" * 63


# The forms of endpoints that AWS documents, then those seen in the field.
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Endpoints.html
# https://docs.aws.amazon.com/memorydb/latest/devguide/endpoints.html
ENDPOINTS = [
    "master.my-name.ameaqx.use1.cache.amazonaws.com",
    "clustercfg.my-name.ameaqx.use1.cache.amazonaws.com",
    "my-name-x2e9hv.serverless.use1.cache.amazonaws.com",
    "my-name-x2e9hv.public.serverless.use1.cache.amazonaws.com",
    "clustercfg.my-name.ameaqx.memorydb.us-east-1.amazonaws.com",
    "my-name.1abc4d.ng.0001.usw2.cache.amazonaws.com",
    "my-name-ro.1abc4d.ng.0001.usw2.cache.amazonaws.com",
    "my-name.7abc2d.0001.usw2.cache.amazonaws.com",
    "my-name.ameaqx.use1.cache.amazonaws.com",
    "replica.my-name.ameaqx.cac1.cache.amazonaws.com",
    "my-name-001.my-name.ameaqx.cac1.cache.amazonaws.com",
    "my-name-0002-001.my-name.ameaqx.cac1.cache.amazonaws.com",
    "my-name.ameaqx.clustercfg.use1.cache.amazonaws.com",
    "my-name-0002-001.my-name.ameaqx.memorydb.us-east-1.amazonaws.com",
    "my-name.ameaqx.clustercfg.memorydb.us-east-1.amazonaws.com",
    "replica.my-name.ameaqx.cnn1.cache.amazonaws.com.cn",
    "clustercfg.my-name.ameaqx.memorydb.cn-north-1.amazonaws.com.cn",
    "my-name-k3p0qz.serverless.cnw1.cache.amazonaws.com.cn",
    "clustercfg.my-name.6ufjp6.usgw1.cache.amazonaws.com",
    "MASTER.My-Name.ameaqx.use1.cache.amazonaws.com",
]
AROUND = ["{}", "{}:6379", "rediss://{}", "rediss://{}:6379/0", "rediss://iam-user:hunter2@{}:6379", "https://{}/?a=b"]


@every_service
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_is_told_from_a_name(noun, endpoint, around):
    text = refusal(noun, construct, noun, name=around.format(endpoint))
    assert (
        text
        == f"the name of the {noun} is wanted, not its endpoint or ARN; it is probably 'my-name'; or use for_endpoint"
    )


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("my-name:6379", "my-name"),
        ("rediss://my-name:6379/0", "my-name"),
        ("rediss://my-name", "my-name"),
        ("master.serverless.ameaqx.use1.cache.amazonaws.com", "serverless"),
        ("master.master.ameaqx.use1.cache.amazonaws.com", "master"),
        ("public-name-x2e9hv.public.serverless.use1.cache.amazonaws.com", "public-name"),
        ("name-abc.1abc4d.ng.0001.usw2.cache.amazonaws.com", "name-abc"),
        ("name-12.1abc4d.ng.0001.usw2.cache.amazonaws.com", "name-12"),
        ("name-001.1abc4d.0001.usw2.cache.amazonaws.com", None),
        ("name-0001-001.ameaqx.0001.cac1.cache.amazonaws.com", None),
    ],
)
def test_an_ambiguous_endpoint_gives_no_wrong_guess(endpoint, name):
    guess = f"; it is probably {name!r}" if name else ""
    assert refusal("cache", construct, "cache", name=endpoint).endswith(
        f"not its endpoint or ARN{guess}; or use for_endpoint"
    )


@pytest.mark.parametrize(
    ("noun", "arn"),
    [
        ("cache", "arn:aws:elasticache:us-east-1:123456789012:replicationgroup:my-name"),
        ("cache", "arn:aws-cn:elasticache:cn-north-1:123456789012:serverlesscache:my-name"),
        ("cluster", "arn:aws:memorydb:us-east-1:123456789012:cluster/my-name"),
    ],
)
def test_an_arn_is_told_from_a_name(noun, arn):
    assert refusal(noun, construct, noun, name=arn).endswith("; it is probably 'my-name'; or use for_endpoint")


@every_service
@pytest.mark.parametrize(
    "name",
    [
        *("10.0.0.5:6379", "cache.example.com:6379", "[::1]:6379", "169.254.169.254", "://", ".", ":", "/", "@:6379"),
        *("eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "1.use1.cache.amazonaws.com", "\u00e9.cache.amazonaws.com"),
        *("hunter2.hunter3", "redis://:hunter2", "redis://:hunter2@", "redis://u:hunter2/hunter3", "hunter2/hunter3"),
        *("arn:aws:iam::123456789012:user/iam-user", "arn:aws:elasticache:us-east-1:123456789012:user:iam-user"),
        *(SECRET_KEY, f"{ACCESS_KEY}:{SECRET_KEY}", "hunter2/", "hunter2:"),
        *("a--b:6379", "http://a-/", "arn:aws:elasticache:us-east-1:123456789012:replicationgroup:a--b"),  # no names
    ],
)
def test_no_guess_where_there_is_nothing_to_guess_from(noun, name):
    text = refusal(noun, construct, noun, name=name)
    assert text == f"the name of the {noun} is wanted, not its endpoint or ARN; or use for_endpoint"


@every_service
@pytest.mark.parametrize(
    "region",
    [
        *(5, b"us-east-1", "", " ", "us", "us-east", "us-east-1\n", " us-east-1", "US-EAST-1", "us_east_1", "us-1"),
        *("use1", "use1-az1", "aws-global", "us--1", "us-east-", "-us-east-1", "us-east-\u0661", "us-\u00e9ast-1"),
        *("us-east-1-bos-1", "us-east-1/", "us-east-1.amazonaws.com", "us-east-1\ud800", "eu-west-1-eu-west-1"),
    ],
)
def test_region(noun, region):
    text = refusal("region", construct, noun, region=region)
    assert text == "a region is wanted, in lower case, like 'us-east-1'"


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
@pytest.mark.parametrize("region", ["US-EAST-1", "us-east-1\n.", "us east-1", "use1", "us-east-1a", "\udcff"])
def test_region_of_the_environment(monkeypatch, variable, region):
    monkeypatch.setenv(variable, region)
    refusal(variable, construct, "cache", region=None)


@pytest.mark.parametrize("zone", ["us-east-1a", "eu-central-2c", "us-gov-west-1b", "us-east-10d"])
def test_an_availability_zone_is_told_from_a_region(zone):
    text = refusal("region", construct, "cache", region=zone)
    assert text == f"a region is wanted; this is an availability zone of {zone[:-1]}"


@pytest.mark.parametrize(
    "region", ["us-east-1", "ap-southeast-7", "us-gov-west-1", "us-isob-east-1", "eusc-de-east-1", "cn-northwest-1"]
)
def test_regions_as_aws_names_them(region):
    assert construct("cache", region=region).region == region


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": " ", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": " eu-west-1\n", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "\teu-west-2\r\n"}, "eu-west-2"),
    ],
)
def test_the_region_comes_from_the_environment(monkeypatch, variables, expected):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert construct("cluster", region=None).region == expected
    assert construct("cluster", region="us-east-1").region == "us-east-1"


@pytest.mark.parametrize(
    "variables", [{}, {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, {"AWS_REGION": " ", "AWS_DEFAULT_REGION": "\n"}]
)
def test_no_region_at_all(monkeypatch, variables):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    text = refusal("region", construct, "cache", region=None)
    assert text == "one like 'us-east-1' is wanted here, in AWS_REGION or in AWS_DEFAULT_REGION"


@pytest.mark.parametrize("serverless", [None, 0, 1, "true", "ServerlessCache"])
def test_serverless(serverless):
    refusal("serverless", construct, "cache", serverless=serverless)


def test_memorydb_has_no_serverless():
    with pytest.raises(TypeError, match="serverless"):
        construct("cluster", serverless=True)


@every_service
@pytest.mark.parametrize(
    "credentials",
    ["AKIA", b"AKIA", 5, True, {}, {"access_key": "a", "secret_key": "s", "token": None}, ("a", "s", None), object()],
)
def test_credentials(noun, credentials):
    text = refusal("credentials", SERVICES[noun], "u", "n", region="us-east-1", credentials=credentials)
    assert text == (
        "None, an object with access_key, secret_key and token, or a callable without arguments that returns one"
        f" is wanted, not {described(credentials)}"
    )


@pytest.mark.parametrize("argument", ["access_key", "secret_key", "token"])
@pytest.mark.parametrize("value", [" ", "hunter 2", "hunter2\n", "hunter2\r", "hünter2", "\ud800"])
def test_keys(argument, value):
    arguments = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, argument: value}
    assert refusal(argument, iamcacheauth.StaticCredentials, **arguments) == (
        "white space and characters outside ASCII are not part of any key; was a line break pasted with it?"
    )


@pytest.mark.parametrize("token", [5, b"hunter2", ["hunter2"]])
def test_session_token(token):
    text = refusal("token", iamcacheauth.StaticCredentials, ACCESS_KEY, SECRET_KEY, token)
    assert text == f"text is wanted, not {described(token)}"


@pytest.mark.parametrize(
    "expiration",
    [
        *("", "soon", "1767355200", "2026-01-02", "2026-01-02T12:00:00", "2026-02-30T12:00:00Z"),
        *("2026-01-02T12:00:00z", "2026-01-02T12:00Z", "20260102T120000Z", "2026-W01-5T12:00:00Z"),
        *(
            "2026-01-02T12:00:00,12345",
            "2026-01-02T12:00:00.12345",
            "2026-01-02T12:00:00.5XZ",
            "2026-01-02T12:00:00 00:00",
        ),
        *(
            "2026-01-02T12:00:00+0000",
            "2026-01-02T12:00:00+00",
            "2026-01-02T12:00:00Z\n",
            "2026-01-02T12:00:00ZZ",
            "2026-01-02T12:00:00+25:00",
        ),
        *("\u0662026-01-02T12:00:00Z", "2026-01-02T12:00:00\ud800", b"2026-01-02T12:00:00Z", True, []),
        *(-1, 253402300800, 1767355200000, float("nan"), float("inf"), 10**400, datetime.date(2026, 1, 2)),
        *(datetime.datetime(2026, 1, 2), datetime.time(12, tzinfo=datetime.timezone.utc)),
    ],
)
def test_expiration(expiration):
    text = refusal("expiration", iamcacheauth.StaticCredentials, ACCESS_KEY, SECRET_KEY, None, expiration)
    assert text == (
        "epoch seconds, ISO 8601 text with a time zone ('2026-01-02T03:04:05Z'),"
        " or a datetime with a time zone is wanted"
    )


# More than a day is, sooner or later, too much for a socket or a lock.
@pytest.mark.parametrize("timeout", [0, -1, None, "5", True, float("nan"), float("inf"), 86401, 1e300])
@pytest.mark.parametrize(
    "construct_with",
    [
        lambda timeout: iamcacheauth.EnvironmentCredentials(timeout=timeout),
        lambda timeout: iamcacheauth.RefreshingCredentials(lambda: PERMANENT, timeout=timeout),
    ],
    ids=["environment", "refreshing"],
)
def test_timeout(construct_with, timeout):
    assert refusal("timeout", construct_with, timeout) == "a positive number of seconds is wanted, a day at most"


@pytest.mark.parametrize("timeout", [0.001, 1, 86400])
def test_timeouts_of_any_length(timeout):
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    assert iamcacheauth.EnvironmentCredentials(keys, timeout=timeout)().access_key == ACCESS_KEY


@pytest.mark.parametrize("environ", [5, "AWS_ACCESS_KEY_ID=a", [("AWS_ACCESS_KEY_ID", "a")]])
def test_environ(environ):
    text = refusal("environ", iamcacheauth.EnvironmentCredentials, environ)
    assert text == f"a mapping of variables is wanted, not {described(environ)}"


@pytest.mark.parametrize("fetch", [None, PERMANENT, "fetch"])
def test_fetch(fetch):
    refusal("fetch", iamcacheauth.RefreshingCredentials, fetch)


class Masked(str):
    """Text that formats itself as something else, as settings libraries do with secrets."""

    def __str__(self) -> str:
        return "****"

    def __format__(self, _: str) -> str:
        return "****"


def member(value):
    """A member of an enum of text or numbers, whose text is its name from Python 3.11 on, and before in part."""
    return enum.Enum("Settings", {"MEMBER": value}, type=type(value)).MEMBER


every_kind_of_text = pytest.mark.parametrize("text", [Masked, member], ids=["masked", "enum"])


@every_kind_of_text
@pytest.mark.parametrize("noun", SERVICES)
def test_text_that_formats_itself_as_something_else_is_signed_as_what_it_is(noun, text):
    def generator(text):
        credentials = iamcacheauth.StaticCredentials(text(ACCESS_KEY), text(SECRET_KEY), text(SESSION_TOKEN))
        return SERVICES[noun](text("IAM-User"), text("My-Name"), region=text("us-east-1"), credentials=credentials)

    plain, other = generator(str), generator(text)
    with clock_at(NOON):
        assert other.get_credentials() == plain.get_credentials()
    assert repr(other) == repr(plain)
    for value in (other.user, other.name, other.region):
        assert type(value) is str  # clients write it as it formats itself


@every_kind_of_text
def test_static_credentials_hold_plain_text(text):
    values = (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, "2026-01-02T12:00:00Z")
    plain, other = iamcacheauth.StaticCredentials(*values), iamcacheauth.StaticCredentials(*map(text, values))
    for attribute in ("access_key", "secret_key", "token", "expiration"):
        assert getattr(other, attribute) == getattr(plain, attribute)
        assert type(getattr(other, attribute)) is type(getattr(plain, attribute))
    assert repr(other) == repr(plain)


@every_kind_of_text
@pytest.mark.parametrize("shape", [lambda found: found, lambda found: lambda: found], ids=["object", "callable"])
def test_text_of_the_users_own_credentials_is_signed_as_what_it_is(text, shape):
    keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "token": SESSION_TOKEN}
    masked = types.SimpleNamespace(**{name: text(value) for name, value in keys.items()})
    plain = iamcacheauth.StaticCredentials(**keys)
    tokens = []
    with clock_at(NOON):
        for credentials in (plain, shape(masked)):
            auth = iamcacheauth.ElastiCacheAuth("u", "c", region="us-east-1", credentials=credentials)
            tokens.append(auth.token())
    assert tokens[0] == tokens[1]


@every_kind_of_text
@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_text_of_a_given_environment_is_signed_as_what_it_is(text, variable):
    variables = {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": SESSION_TOKEN,
    }
    found = iamcacheauth.EnvironmentCredentials({**variables, variable: text(variables[variable])})()
    assert [type(value) for value in (found.access_key, found.secret_key, found.token)] == [str] * 3
    assert (found.access_key, found.secret_key, found.token) == (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)


@every_kind_of_text
@pytest.mark.parametrize("argument", ["service", "region", "host", "timestamp", "params"])
def test_presign_signs_text_as_what_it_is(text, argument):
    request = {"service": "sts", "region": "us-east-1", "host": "Example.com", "timestamp": "20260102T030405Z"}
    params = [("Action", "connect"), ("User", "u")]
    plain = iamcacheauth.presign(PERMANENT, params=params, **request)
    if argument == "params":
        params = [(text(name), text(value)) for name, value in params]
    else:
        request[argument] = text(request[argument])
    assert iamcacheauth.presign(PERMANENT, params=params, **request) == plain


def test_presign_takes_a_member_of_an_enum_for_a_number():
    request = {"service": "s", "region": "r", "host": "h", "params": [], "timestamp": "20260102T030405Z"}
    plain = iamcacheauth.presign(PERMANENT, expires=60, **request)
    assert iamcacheauth.presign(PERMANENT, expires=member(60), **request) == plain


@every_kind_of_text
def test_the_steps_take_text_as_what_it_is(text):
    scope = ("20260102", "us-east-1", "s")
    for step, *values in (
        (iamcacheauth.uri_encode, "a b"),
        (iamcacheauth.string_to_sign, "20260102T030405Z", "/".join((*scope, "aws4_request")), "GET"),
        (iamcacheauth.signing_key, SECRET_KEY, *scope),
        (lambda host, value: iamcacheauth.canonical_request(host, [("a", value)]), "Example.com:443", "b"),
    ):
        assert step(*map(text, values)) == step(*values)


@every_service
def test_refused_arguments_leave_nothing_without_a_repr(noun):
    """Tracebacks with local variables, as error trackers make them, show the object whose arguments were refused."""
    with pytest.raises(ConfigurationError) as caught:
        construct(noun, region="nowhere")
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.tb)]
    assert [repr(found) for each in frames for found in each.values() if isinstance(found, iamcacheauth.TokenGenerator)]
