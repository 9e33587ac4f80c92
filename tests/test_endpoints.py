"""From AWS's own host names to generators, for every form of them, and what is said of all other text."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.examples import ACCESS_KEY, NOON, PERMANENT, SECRET_KEY, clock_at
from support.subject import iamcacheauth

# Seen in the field or documented by AWS, with made-up names. The third column is the name, the fourth the region.
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Endpoints.html
# https://docs.aws.amazon.com/memorydb/latest/devguide/endpoints.html
WITH_TLS = """
    master.my-cache.abc123.use1.cache.amazonaws.com:6379 elasticache my-cache us-east-1
    primary.my-cache.abc123.use1.cache.amazonaws.com:6379 elasticache my-cache us-east-1
    my-cache-02.my-cache.abc123.use1.cache.amazonaws.com:6379 elasticache my-cache us-east-1
    my-cache.abc123.use1.cache.amazonaws.com:6379 elasticache my-cache us-east-1
    my-cache-abc123.serverless.use1.cache.amazonaws.com:6380 serverless my-cache us-east-1
    my-cache-12345.serverless.use1.cache.amazonaws.com:6379 serverless my-cache us-east-1
    my-cache-abc123.public.serverless.use1.cache.amazonaws.com serverless my-cache us-east-1
    my-public-cache-x2e9hv.public.serverless.use1.cache.amazonaws.com:6379 serverless my-public-cache us-east-1
    my-cache-abc123.public.serverless.euw1.cache.amazonaws.com:6379 serverless my-cache eu-west-1
    my-cache.serverless.use1.cache.amazonaws.com serverless my-cache us-east-1
    clustercfg.my-cache.abc123.use2.cache.amazonaws.com elasticache my-cache us-east-2
    my-cache-ac-2345-abc123.serverless.cac1.cache.amazonaws.com:6379 serverless my-cache-ac-2345 ca-central-1
    master.my-cache.abc123.mxc1.cache.amazonaws.com elasticache my-cache mx-central-1
    master.my-cache.abc123.sae1.cache.amazonaws.com:6379 elasticache my-cache sa-east-1
    master.my-cache-rg.abc123.euw2.cache.amazonaws.com:6429 elasticache my-cache-rg eu-west-2
    clustercfg.my-cache.abc123.eun1.cache.amazonaws.com:6379 elasticache my-cache eu-north-1
    my-cache-test-abc123.serverless.ilc1.cache.amazonaws.com serverless my-cache-test il-central-1
    master.my-cache.abc123.ape2.cache.amazonaws.com elasticache my-cache ap-east-2
    master.my-cache-dev-valkey.abc123.aps1.cache.amazonaws.com elasticache my-cache-dev-valkey ap-south-1
    my-cache-abc123.serverless.aps2.cache.amazonaws.com serverless my-cache ap-south-2
    my-cache-001.my-cache.abc123.apse2.cache.amazonaws.com:6379 elasticache my-cache ap-southeast-2
    master.my-cache.abc123.apse4.cache.amazonaws.com elasticache my-cache ap-southeast-4
    master.my-cache.abc123.apse5.cache.amazonaws.com elasticache my-cache ap-southeast-5
    master.my-cache.abc123.apse6.cache.amazonaws.com elasticache my-cache ap-southeast-6
    replica.my-cache01.abc123.apne1.cache.amazonaws.com elasticache my-cache01 ap-northeast-1
    clustercfg.my-cache3.abc123.apn2.cache.amazonaws.com elasticache my-cache3 ap-northeast-2
    my-cache-abc123.serverless.cnn1.cache.amazonaws.com.cn serverless my-cache cn-north-1
    my-cache-serverless-abc123.serverless.cnw1.cache.amazonaws.com.cn serverless my-cache-serverless cn-northwest-1
    clustercfg.my-cache.abc123.cnw1.cache.amazonaws.com.cn elasticache my-cache cn-northwest-1
    clustercfg.my-cache.abc123.usgw1.cache.amazonaws.com:6379 elasticache my-cache us-gov-west-1
    master.my-cache.abc123.usge1.cache.amazonaws.com elasticache my-cache us-gov-east-1
    master.my-cache.abc123.euscdee1.cache.amazonaws.eu elasticache my-cache eusc-de-east-1
    master.my-cache.abc123.usie1.cache.c2s.ic.gov elasticache my-cache us-iso-east-1
    my-db-0001-001.my-db.abc123.memorydb.us-east-1.amazonaws.com:6379 memorydb my-db us-east-1
    clustercfg.my-db.abc123.memorydb.cn-north-1.amazonaws.com.cn:6379 memorydb my-db cn-north-1
    my-db.abc123.memorydb.us-east-1.amazonaws.com:6379 memorydb my-db us-east-1
    master.my-cache.abc123.euw1.cache.amazonaws.com. elasticache my-cache eu-west-1
    my-cache-0001-002.my-cache.abc123.euc1.cache.amazonaws.com:6379 elasticache my-cache eu-central-1
    my-cache-001.my-cache.abc123.usw1.cache.amazonaws.com elasticache my-cache us-west-1
    my-cache-abc123.serverless.eus2.cache.amazonaws.com:6379 serverless my-cache eu-south-2
"""
# The second column is how the same cache's host name starts with TLS; NAME where the host name leaves the name open.
WITHOUT_TLS = """
    my-cache.abc123.clustercfg.use1.cache.amazonaws.com clustercfg.my-cache.abc123
    my-cache.abc123.ng.0001.use1.cache.amazonaws.com master.my-cache.abc123
    my-cache-001.abc123.0001.usw2.cache.amazonaws.com master.NAME.abc123
    my-cache-0001-001.abc123.0001.use1.cache.amazonaws.com clustercfg.NAME.abc123
    my-cache.abc123.0001.euc2.cache.amazonaws.com master.my-cache.abc123
    my-cache-dev.abc123.ng.0001.eus1.cache.amazonaws.com master.my-cache-dev.abc123
    my-cache.abc123.clustercfg.afs1.cache.amazonaws.com:6379 clustercfg.my-cache.abc123
    my-cache-uat.abc123.ng.0001.mec1.cache.amazonaws.com master.my-cache-uat.abc123
    my-other-cache.abc123.clustercfg.mes1.cache.amazonaws.com clustercfg.my-other-cache.abc123
    my-cache-beta.abc123.ng.0001.apse1.cache.amazonaws.com master.my-cache-beta.abc123
    my-cache-1-group.abc123.ng.0001.apse3.cache.amazonaws.com master.my-cache-1-group.abc123
    my-cache.abc123.0001.apse3.cache.amazonaws.com:6379 master.my-cache.abc123
    my-cache-production.abc123.0001.apse7.cache.amazonaws.com master.my-cache-production.abc123
    my-cache.abc123.ng.0001.apn2.cache.amazonaws.com master.my-cache.abc123
    my-cache-001.abc123.0001.apn2.cache.amazonaws.com master.NAME.abc123
    my-cache.abc123.ng.0001.apn3.cache.amazonaws.com master.my-cache.abc123
    my-cache.abc123.ng.0001.apne3.cache.amazonaws.com master.my-cache.abc123
    memorydb.abc123.clustercfg.memorydb.us-east-2.amazonaws.com:6379 clustercfg.memorydb.abc123
    my-db.abc123.clustercfg.memorydb.ap-northeast-1.amazonaws.com:6379 clustercfg.my-db.abc123
    my-db-0002-001.abc123.0002.memorydb.us-east-1.amazonaws.com:6379 clustercfg.my-db.abc123
    my-db.abc123.clustercfg.memorydb.cn-north-1.amazonaws.com.cn clustercfg.my-db.abc123
    My-Cache.abc123.0002.use1.cache.amazonaws.com master.my-cache.abc123
    my-cache.123456.ng.0001.use1.cache.amazonaws.com master.my-cache.123456
    my-cache-001.abc123.ng.0001.apse1.cache.amazonaws.com master.my-cache-001.abc123
    my-cache-001-001.abc123.0001.aps1.cache.amazonaws.com master.NAME.abc123
    r1.abc123.ng.0001.use2.cache.amazonaws.com master.r1.abc123
    master.abc123.0001.use1.cache.amazonaws.com master.master.abc123
    my-cache-ro.abc123.0001.use1.cache.amazonaws.com master.my-cache-ro.abc123
    my-cache.xxxxx.ng.0001.apne2.cache.amazonaws.com:6379 master.my-cache.xxxxx
"""
MEMCACHED = [
    "my-cache.abc123.cfg.use1.cache.amazonaws.com:11211",
    "my-cache.abc123.cfg.0001.use1.cache.amazonaws.com",
    "my-cache.example.cfg.use1prod.cache.amazonaws.com",
    "my-cache.abc123.cfg.sae1.cache.amazonaws.com:11211",
    "my-cache-1.abc123.cfg.eun1.cache.amazonaws.com",
    "my-cache.abc123.cfg.apse2.cache.amazonaws.com:11211",
    "my-cache.abc123.cfg.apne1.cache.amazonaws.com",
]
OTHERS = [
    "my-cache.0001.cache.amazonaws.com",
    "serverless-memcached-01.amazonaws.com",
    "clustercfg.my-db.memorydb.us-east-1.amazonaws.com",
    " ".join(f"my-cache-0001-00{n}.my-cache.abc123.usw2.cache.amazonaws.com:6379" for n in (1, 2)),
    "my-cache.cfg.local:11211",
    "redis.internal.example",
    "replica.my-cache.abc123.cac1.cache.amazonaws.ca:6379",
    "my-cache.cac1.cache.amazonaws.com:6379",
    "my-cache.abc123.serverless.use1.cache.amazonaws.com:6379",
    "my-cache-01.apne1-az1.cache.amazonaws.com",
    "elasticache.us-east-1.amazonaws.com",
    "elasticache-fips.us-east-1.amazonaws.com",
    "memory-db-fips.us-west-1.amazonaws.com",
    *(
        "",
        "amazonaws.com",
        "cache.amazonaws.com",
        ".use1.cache.amazonaws.com",
        "10.0.0.5",
        "[fd00::1]:6379",
        "localhost",
    ),
    "master.my-cache.abc123.use1.cache.amazonaws.com.example.com",
    "master.my-cache.abc123.use1.cache.example.com",
    "master.my-cache.abc123.use1-cache-amazonaws.com",
    "master.my-cache.abc123.use1.cache.amazonaws.com:",
    "master.my-cache.abc123.use1.cache.amazonaws.com:port",
    "master.my-cache.abc123.use1.cache.amazonaws.com:637900",
    "master.my-cache.abc123.use1.cache.amazonaws.com:\u0666",
    "master.my-cache.abc123.use1.cache.amazonaws.com..",
    "master.my-cache.abc123.use1.cache.amazonaws.com\n",
    " master.my-cache.abc123.use1.cache.amazonaws.com",
    "master.my-c\u00e4che.abc123.use1.cache.amazonaws.com",
    "master.my-cache.abc123.use1.cache.amazonaws.com".replace("m", "\uff4d"),
    "master.my-\u212aache.abc123.use1.cache.amazonaws.com",  # the sign of the kelvin is a k in lower case
    "master.1-cache.abc123.use1.cache.amazonaws.com",
    "master.my--cache.abc123.use1.cache.amazonaws.com",
    "master.my-cache-.abc123.use1.cache.amazonaws.com",
    "master.abc123.use1.cache.amazonaws.com",
    "replica.abc123.use1.cache.amazonaws.com",
    "clustercfg.abc123.memorydb.us-east-1.amazonaws.com",
    "my-cache-abc123.serverless.memorydb.us-east-1.amazonaws.com",
    "my-cache.abc123.ng.0001.memorydb.us-east-1.amazonaws.com",
    "clustercfg.my-db.abc123.memorydb.use1.amazonaws.com",
    "clustercfg.my-db.abc123.memorydb.us-east-1a.amazonaws.com",
    "my-cache.redis.cache.windows.net",
    "my-db.c1a2b3.us-east-1.rds.amazonaws.com",
    "daxcluster.abc123.dax-clusters.us-east-1.amazonaws.com",
    "my-nlb-0123456789abcdef.elb.us-west-2.amazonaws.com",
]
URLS = [
    ("redis://", "my-cache-dev.abc123.0001.caw1.cache.amazonaws.com", ":6379/0"),
    ("redis://default:@", "my-cache-abc123.serverless.euw3.cache.amazonaws.com", ":6379"),
    ("redis://", "my-cache-ro.abc123.ng.0001.aps2.cache.amazonaws.com", ":6379"),
    ("rediss://token@", "master.prd-00000000-1111-2222-3333-444444444444.abc123.usgw1.cache.amazonaws.com", ":6379"),
    ("https://", "my-cache-abc123.serverless.use1.cache.amazonaws.com", ""),
    ("tls://", "clustercfg.my-cache.abc123.usw2.cache.amazonaws.com", ""),
    ("redis://:@", "cachecluster.abc123.ng.0001.ape1.cache.amazonaws.com", ":6379/0"),
    ("rediss://:p?w=x!y@", "master.my-cache.abc123.sae1.cache.amazonaws.com", "/2"),
    ("rediss://user:pw@", "master.my-cache.abc123.apse2.cache.amazonaws.com", ":6380"),
    ("memcached://", "my-cache.abc123.cfg.euw3.cache.amazonaws.com", ":11211"),
    ("rediss://", "master.my-cache.abc123.use1.cache.amazonaws.com", ":6379/0"),
    ("iam-user@", "master.my-cache.abc123.use1.cache.amazonaws.com", ""),
    ("", "master.my-cache.abc123.use1.cache.amazonaws.com", "/0"),
]
WANTED = "endpoint: AWS's own host name is wanted, like 'master.my-cache.abc123.use1.cache.amazonaws.com'"
ANY_OTHER = "; for any other, use ElastiCacheAuth or MemoryDBAuth with the name"


def rows(table):
    return [line.split() for line in table.strip().splitlines()]


def generator(endpoint, **options):
    return iamcacheauth.for_endpoint("iam-user", endpoint, credentials=PERMANENT, **options)


def refusal(endpoint, **options):
    with pytest.raises(iamcacheauth.ConfigurationError) as caught:
        generator(endpoint, **options)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


def expected(kind, name, region):
    """The generator that somebody would have made who knew service, name and region."""
    if kind == "memorydb":
        return iamcacheauth.MemoryDBAuth("iam-user", name, region=region, credentials=PERMANENT)
    return iamcacheauth.ElastiCacheAuth(
        "iam-user", name, region=region, serverless=kind == "serverless", credentials=PERMANENT
    )


def assert_same(found, wanted):
    assert type(found) is type(wanted)
    with clock_at(NOON):
        assert found.get_credentials() == wanted.get_credentials()


@pytest.mark.parametrize(("endpoint", "kind", "name", "region"), rows(WITH_TLS))
def test_an_endpoint_with_tls(endpoint, kind, name, region):
    assert_same(generator(endpoint), expected(kind, name, region))


@pytest.mark.parametrize(("endpoint", "with_tls"), rows(WITHOUT_TLS))
def test_an_endpoint_without_tls(endpoint, with_tls):
    service = "MemoryDBAuth" if ".memorydb." in endpoint else "ElastiCacheAuth"
    end = re.search(r"(\w+\.cache|memorydb\.[a-z0-9-]+)\.amazonaws[a-z.]+", endpoint)[0]
    assert refusal(endpoint) == (
        "endpoint: it is for connections without TLS, which IAM needs; "
        f"with TLS, it is probably '{with_tls}.{end}'; {service} with the name needs none"
    )


@pytest.mark.parametrize("endpoint", MEMCACHED)
def test_an_endpoint_of_memcached(endpoint):
    assert refusal(endpoint).startswith("endpoint: it is Memcached's, which knows no IAM")


@pytest.mark.parametrize("endpoint", [*OTHERS, None, 6379, b"master.my-cache.abc123.use1.cache.amazonaws.com"])
def test_no_endpoint_of_awss(endpoint):
    assert refusal(endpoint) == f"{WANTED}{ANY_OTHER}"


@pytest.mark.parametrize(("before", "host", "after"), URLS)
def test_a_url(before, host, after):
    assert refusal(before + host + after) == f"{WANTED}; it is probably '{host}'{ANY_OTHER}"


@pytest.mark.parametrize(
    "endpoint",
    [
        *("rediss://iam-user:hunter2@my-name", "rediss://hunter2", "hunter2:6379", "hunter2", SECRET_KEY, ACCESS_KEY),
        "rediss://:hunter2@10.0.0.5:6379",
        "rediss://iam-user:hunter2@cache.example:6379/0",
        "hunter2.cache.example",
        "master.my-cache.abc123.use1.cache.amazonaws.com:hunter2",
        "rediss://iam-user:hunter2@master.my-cache.abc123.use1.cache.amazonaws.com:6379",
        "rediss://iam-user:hunter2@master.my-cache.abc123.use1.cache.amazonaws.com:hunter2/hunter2",
        "rediss://iam-user:hun@ter2/hunter2@master.my-cache.abc123.use1.cache.amazonaws.com",
        "hunter2.my-cache.abc123.cfg.use1.cache.amazonaws.com",
    ],
)
def test_no_refusal_repeats_what_may_be_a_secret(endpoint):
    text = refusal(endpoint)
    assert "hun" not in text
    assert endpoint not in text


# --- regions ---

REGIONS = {
    "af-south-1": "afs1",
    "ap-east-1": "ape1",
    "ap-east-2": "ape2",
    "ap-northeast-1": "apne1",
    "ap-northeast-2": "apn2",
    "ap-northeast-3": "apn3",
    "ap-south-1": "aps1",
    "ap-south-2": "aps2",
    **{f"ap-southeast-{number}": f"apse{number}" for number in range(1, 8)},
    "ca-central-1": "cac1",
    "ca-west-1": "caw1",
    "cn-north-1": "cnn1",
    "cn-northwest-1": "cnw1",
    "eu-central-1": "euc1",
    "eu-central-2": "euc2",
    "eu-north-1": "eun1",
    "eu-south-1": "eus1",
    "eu-south-2": "eus2",
    "eu-west-1": "euw1",
    "eu-west-2": "euw2",
    "eu-west-3": "euw3",
    "eusc-de-east-1": "euscdee1",
    "il-central-1": "ilc1",
    "me-central-1": "mec1",
    "me-south-1": "mes1",
    "mx-central-1": "mxc1",
    "sa-east-1": "sae1",
    "us-east-1": "use1",
    "us-east-2": "use2",
    "us-gov-east-1": "usge1",
    "us-gov-west-1": "usgw1",
    "us-iso-east-1": "usie1",
    "us-iso-west-1": "usiw1",
    "us-west-1": "usw1",
    "us-west-2": "usw2",
}
DOMAINS = {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu", "us-iso": "c2s.ic.gov"}


def domain(region):
    return next((end for start, end in DOMAINS.items() if region.startswith(f"{start}-")), "amazonaws.com")


def elasticache_host(code, end="amazonaws.com"):
    return f"master.my-cache.abc123.{code}.cache.{end}"


@pytest.mark.parametrize(("region", "code"), REGIONS.items())
def test_regions(region, code):
    for known in (None, region):
        found = generator(elasticache_host(code, domain(region)), region=known)
        assert_same(found, expected("elasticache", "my-cache", region))
        found = generator(f"clustercfg.my-db.abc123.memorydb.{region}.{domain(region)}", region=known)
        assert_same(found, expected("memorydb", "my-db", region))


@pytest.mark.parametrize(("code", "region"), [("apse9", "ap-southeast-9"), ("nzc1", "nz-central-1")])
def test_a_code_that_nobody_has_seen(code, region):
    assert generator(elasticache_host(code)).region == region
    assert generator(elasticache_host(code), region="eu-west-1").region == "eu-west-1"


@pytest.mark.parametrize(
    ("code", "end"),
    [
        *((code, "amazonaws.com") for code in ("xyz9", "use1prod", "use", "1", "apn1", "apn4", "use0", "cnn1")),
        ("use1", "amazonaws.com.cn"),
        ("cnw2", "amazonaws.com.cn"),
        ("usie1", "sc2s.sgov.gov"),
    ],
)
def test_a_code_that_tells_no_region(code, end, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    text = refusal(elasticache_host(code, end))
    assert text == f"region: it does not follow from the endpoint's {code!r}; pass one like 'us-east-1'"
    assert generator(elasticache_host(code, end), region="eu-west-1").region == "eu-west-1"


@pytest.mark.parametrize(
    "endpoint", [elasticache_host("use1"), "clustercfg.my-db.abc123.memorydb.us-east-1.amazonaws.com"]
)
def test_another_region_than_the_endpoints(endpoint, monkeypatch):
    assert refusal(endpoint, region="eu-west-1") == "region: the endpoint's is us-east-1; leave it out"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert generator(endpoint).region == "us-east-1"


def test_what_the_generators_take():
    endpoint = elasticache_host("use1")
    with pytest.raises(iamcacheauth.ConfigurationError, match=r"^user: "):
        iamcacheauth.for_endpoint("", endpoint)
    with pytest.raises(iamcacheauth.ConfigurationError, match=r"^credentials: "):
        iamcacheauth.for_endpoint("iam-user", endpoint, credentials="my-profile")
    with pytest.raises(iamcacheauth.ConfigurationError, match=r"^region: "):
        iamcacheauth.for_endpoint("iam-user", elasticache_host("xyz9"), region="Virginia")


# --- any name, in every form ---

LABEL = string.ascii_lowercase + string.digits
NAMES = st.builds(
    lambda first, rest: f"{first}{'-'.join(rest)}"[:40].rstrip("-"),
    st.sampled_from(string.ascii_lowercase),
    st.lists(st.text(LABEL, min_size=1, max_size=10), min_size=1, max_size=4),
) | st.sampled_from(
    ["master", "replica", "clustercfg", "serverless", "public", "ng", "cfg", "cache", "memorydb", "x-ro"]
)
IDS = st.text(LABEL, min_size=6, max_size=6).filter(lambda text: text != "public")
SHARDS = st.integers(1, 500).map("{:04}".format)
ROLES = st.sampled_from(["master", "replica", "clustercfg"])
MEMBERS = st.builds("{:03}".format, st.integers(1, 6))
PORTS = st.just("") | st.integers(1, 65535).map(":{}".format)


@st.composite
def hosts(draw):
    """Kind, name, region and a host name of any form with TLS, in any capitals, with or without final dot and port."""
    region = draw(st.sampled_from(sorted(REGIONS)))
    kind = draw(st.sampled_from(["elasticache", "serverless", "memorydb"]))
    name, cache_id = draw(NAMES), draw(IDS)
    node = f"{name}-{draw(MEMBERS)}" if draw(st.booleans()) else f"{name}-{draw(SHARDS)}-{draw(MEMBERS)}"
    if kind == "serverless":
        start = f"{name}-{cache_id}.{draw(st.sampled_from(['', 'public.']))}serverless"
    else:
        start = f"{draw(st.just(node) | (st.just('clustercfg') if kind == 'memorydb' else ROLES))}.{name}.{cache_id}"
    middle = f"memorydb.{region}" if kind == "memorydb" else f"{REGIONS[region]}.cache"
    host = draw(st.sampled_from([str, str.upper, str.title]))(f"{start}.{middle}.{domain(region)}")
    return kind, name, region, host + draw(st.sampled_from(["", "."])) + draw(PORTS)


@given(hosts())
def test_any_name_comes_back_from_its_endpoint(host):
    kind, name, region, endpoint = host
    assert_same(generator(endpoint), expected(kind, name, region))


@given(hosts())
def test_an_endpoint_for_the_name_is_told_from_it(host):
    kind, name, region, endpoint = host
    with pytest.raises(iamcacheauth.ConfigurationError) as caught:
        expected(kind, endpoint, region)
    noun = "cluster" if kind == "memorydb" else "cache"
    wanted = f"{noun}: the name of the {noun} is wanted, not its endpoint or ARN"
    assert str(caught.value) == f"{wanted}; it is probably {name!r}; or use for_endpoint"


@given(NAMES, IDS, SHARDS, MEMBERS, st.sampled_from(sorted(REGIONS)), PORTS)
def test_any_endpoint_without_tls_is_refused(name, cache_id, shard, member, region, port):
    elasticache, memorydb = f"{REGIONS[region]}.cache.{domain(region)}", f"memorydb.{region}.{domain(region)}"
    for start, end, role in (
        (f"{name}.{cache_id}.clustercfg", elasticache, "clustercfg"),
        (f"{name}-ro.{cache_id}.ng.{shard}", elasticache, "replica"),
        (f"{name}z.{cache_id}.ng.{shard}", elasticache, "master"),
        (f"{name}z.{cache_id}.{shard}", elasticache, "master"),
        (f"{name}.{cache_id}.clustercfg", memorydb, "clustercfg"),
        (f"{name}-{shard}-{member}.{cache_id}.{shard}", memorydb, "clustercfg"),
    ):
        known = name + "z" if start.startswith(f"{name}z.") else name  # which no node is called
        assert f"it is probably '{role}.{known}.{cache_id}.{end}'" in refusal(f"{start}.{end}{port}")
    assume(not re.search("-[0-9]{4}$", name))  # which looks like a shard's number
    for start, role in ((f"{name}-{member}", "master"), (f"{name}-{shard}-{member}", "clustercfg")):
        text = refusal(f"{start}.{cache_id}.{shard}.{elasticache}{port}")
        assert f"it is probably '{role}.NAME.{cache_id}.{elasticache}'" in text


@given(st.text() | st.text(LABEL + "-.:/@") | hosts().map(lambda host: host[-1]), st.text(max_size=3))
def test_any_text_is_an_endpoint_or_refused(text, more):
    for endpoint in (text, text + more, more + text):
        try:
            generator(endpoint)
        except iamcacheauth.ConfigurationError as error:
            assert len(str(error).splitlines()) == 1
