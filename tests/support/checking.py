"""What the tests of check share, with a real Redis and without: its output made comparable, and STS on loopback."""

from __future__ import annotations

import re
import ssl
import textwrap
import time
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from support.examples import SECRET_KEY, SESSION_TOKEN, TEMPORARY
from support.loopback import AUTHORITY, CA_FILE, Answer, Request, Server, demand, reply
from support.subject import iamcacheauth

ROLE = "arn:aws:sts::123456789012:assumed-role/cache-reader/session"
SESSION = {
    "AWS_ACCESS_KEY_ID": TEMPORARY.access_key,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_SESSION_TOKEN": SESSION_TOKEN,
}


STS = "STS at 127.0.0.1 (AWS_ENDPOINT_URL_STS)"
USER = (
    "User my-iam-user is not in the cache's user group, is not of type iam, is off, or has a user name that differs"
    " from its id. See: aws elasticache describe-users --user-id my-iam-user"
)
ACCOUNT = (
    "The cache is in another account than 123456789012, this identity's, and only roles of that account can log in:"
    " assume one (--role-arn; AssumedRole in Python). The policy then needs its account, and belongs to it."
)
ALIAS = "The endpoint is an alias, so it does not show whether name, region and --serverless are right."
CONDITION = "A policy's condition, a permissions boundary or a service control policy forbids it."
ENGINE = "The engine is older than Valkey 7.2 or Redis OSS 7.0, the first to know IAM."


def comparable(output: str) -> str:
    """An output with what differs from run to run replaced, after a look at what must hold for every one."""
    secrets = (
        secret[start : start + 12] for secret in (SECRET_KEY, SESSION_TOKEN) for start in range(len(secret) - 11)
    )
    leaked = [piece for piece in secrets if piece in output] or re.findall("[0-9a-f]{20,}", output)
    if leaked:
        raise AssertionError(f"{leaked} in:\n{output}")
    if max(map(len, output.splitlines())) > 100 and max(map(len, output.split())) < 60:
        raise AssertionError(f"a line of more than 100 characters in:\n{output}")
    output = re.sub(r" +\d+\.\d ms  ", lambda found: "0.1 ms  ".rjust(len(found[0])), output)
    output = re.sub(r"TLS failed: [a-z0-9 ]+", "TLS failed: …", output)  # depends on OpenSSL's version
    output = re.sub(r"(it\s+says\s+)\S{20}\)", r"\g<1>2026-01-02T12:00:00Z)", output)
    output = output.replace("::1, 127.0.0.1 port", "127.0.0.1 port")  # localhost, where it has two addresses
    return re.sub(r"port \d+", "port 6379", output)


def listed(heading: str, *texts: str) -> str:
    """How a command shows one text, or several under a heading."""
    if len(texts) == 1:
        return textwrap.fill(texts[0], 96, break_on_hyphens=False)
    numbered = (
        textwrap.fill(f"{number}. {text}", 96, subsequent_indent="   ", break_on_hyphens=False)
        for number, text in enumerate(texts, 1)
    )
    return "\n".join([heading, *numbered])


def row(step: str, outcome: str, seen: str) -> str:
    """What a step of check prints."""
    start = f"{step:<12}{outcome:<8}    0.1 ms  "
    return (
        textwrap.fill(
            seen, 96, initial_indent=start, subsequent_indent=" " * 32, break_long_words=False, break_on_hyphens=False
        )
        + "\n"
    )


def caused(*causes: str) -> str:
    return f"\n{listed('What may have caused this, the most likely first:', *causes)}\n"


def policy(cache: str, user: str, action: str = "elasticache:Connect") -> str:
    """The policy to paste."""
    return f"""
{{
  "Version": "2012-10-17",
  "Statement": [
    {{
      "Effect": "Allow",
      "Action": "{action}",
      "Resource": [
        "{cache}",
        "{user}"
      ]
    }}
  ]
}}
"""


class CallerIdentity(Server):
    """STS, asked whose the credentials are that signed the question.

    clock_offset: seconds by which its clock is ahead of this machine's.
    """

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(AUTHORITY / "server.pem")
    arn = ROLE
    clock_offset = 0.0

    @property
    def environ(self) -> dict[str, str]:
        return {**SESSION, "AWS_ENDPOINT_URL_STS": self.url, "AWS_CA_BUNDLE": CA_FILE}

    @property
    def date(self) -> str:
        return time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + self.clock_offset))

    def serve(self, request: Request) -> tuple[str, Answer]:
        path, _, query = request.target.partition("?")
        demand((request.method, path, request.body) == ("GET", "/", b""), 405, "GET / without a body")
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
        demand(pairs[:2] == [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")], 400, "another action")
        return "identity", self.refusal(request, pairs) or reply(
            200,
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>{escape(self.arn)}</Arn><UserId>AROACLKWSDQRAOEXAMPLE:session</UserId>"
            f"<Account>{self.arn.split(':')[4]}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
            self.date,
        )

    def refusal(self, request: Request, pairs: list[tuple[str, str]]) -> Answer | None:
        """The answer to a request whose signature is not good."""
        host = request.headers["Host"]
        expected = iamcacheauth.presign(
            TEMPORARY,
            service="sts",
            region="us-east-1",
            host=host,
            params=pairs[:2],
            timestamp=dict(pairs)["X-Amz-Date"],
        )
        demand(f"{host}{request.target}" == expected, 403, "another signature")
        return None
