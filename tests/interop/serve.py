"""The gate by itself, for programs that are to be tried on a cache that really checks tokens: tests/interop/gate."""

from __future__ import annotations

import argparse
import signal
import sys

from gate import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, TEMPORARY_ACCESS_KEY, Cache, Gate, cluster

DESCRIPTION = """\
A cache that checks IAM tokens as ElastiCache and MemoryDB do, on this machine: a real redis-server behind TLS.
It says how to log in, then which logins it let in and why it refused the others. Enter cuts all connections, as the
services do twelve hours after a login; Ctrl-C ends it."""
KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
TEMPORARY_KEYS = {**KEYS, "AWS_ACCESS_KEY_ID": TEMPORARY_ACCESS_KEY, "AWS_SESSION_TOKEN": SESSION_TOKEN}


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    options = _options()
    cache = Cache(
        service="memorydb" if options.memorydb else "elasticache",
        name=options.name,
        region=options.region,
        serverless=options.serverless,
        users=(options.user,),
    )
    try:
        with _gate(cache, options) as gate:
            if options.other_name:
                gate.certify("another-cache.example.com")
            print(_instructions(gate), flush=True)
            for _ in sys.stdin:
                gate.cut_all()
            signal.pause()
    except KeyboardInterrupt:
        return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/interop/gate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--serverless", action="store_true", help="ElastiCache Serverless, which is in cluster mode")
    kind.add_argument("--memorydb", action="store_true", help="MemoryDB, which is in cluster mode")
    parser.add_argument("--cluster", action="store_true", help="cluster mode with three shards")
    parser.add_argument("--name", default="my-cache", help="of the cache or cluster (default: %(default)s)")
    parser.add_argument("--user", default="my-iam-user", help="who may log in (default: %(default)s)")
    parser.add_argument("--region", default="us-east-1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=0, help="the first one, if it should not be a free one")
    parser.add_argument(
        "--other-name",
        action="store_true",
        help="a trusted certificate for another name: a program that logs in all the same does not check names",
    )
    return parser.parse_args()


def _gate(cache: Cache, options: argparse.Namespace) -> Gate:
    report = lambda line: print(line, flush=True)
    shards = 3 if options.cluster else 1
    if options.cluster or options.serverless or options.memorydb:
        return cluster(shards, cache, port=options.port, report=report)
    return Gate(cache, port=options.port, report=report)


def _instructions(gate: Gate) -> str:
    cache = gate.cache
    kind = f"{cache.service}, serverless" if cache.serverless else cache.service
    return f"""\
host     {gate.host}
port     {", ".join(map(str, gate.ports))}
CA file  {gate.ca_file}
user     {cache.users[0]}
cache    {cache.name} ({kind})
region   {cache.region}
Keys to sign with, permanent or temporary ones; and what Python, OpenSSL and most clients take the CA file from:
{_exports({**KEYS, "AWS_REGION": cache.region, "SSL_CERT_FILE": gate.ca_file})}
{_exports({**TEMPORARY_KEYS, "AWS_REGION": cache.region, "SSL_CERT_FILE": gate.ca_file})}
"""


def _exports(variables: dict[str, str]) -> str:
    return "export " + " ".join(f"{name}={value}" for name, value in variables.items())


if __name__ == "__main__":
    sys.exit(main())
