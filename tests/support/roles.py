"""AssumeRole on loopback: it verifies signatures, and refuses what the real one refuses, in its words."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from urllib.parse import parse_qsl

from .examples import TEMPORARY
from .loopback import Answer, Request, Sts, demand, issued_by, sts_error

FAR_ROLE = "arn:aws:iam::210987654321:role/far-caches"
CALLER = "arn:aws:sts::123456789012:assumed-role/cache-reader/session"
CHAINED_LIMIT = 3600


def signature_of(query: str, host: str, secret_key: str) -> str:
    """Signature version 4 of a presigned GET with nothing but the host header signed."""
    pairs = [pair for pair in query.split("&") if not pair.startswith("X-Amz-Signature=")]
    params = dict(parse_qsl(query))
    request = "\n".join(["GET", "/", "&".join(sorted(pairs)), f"host:{host}", "", "host", hashlib.sha256().hexdigest()])
    scope = params["X-Amz-Credential"].partition("/")[2]
    text = "\n".join(["AWS4-HMAC-SHA256", params["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key.hex()


class RoleSts(Sts):
    """STS for AssumeRole, and for AssumeRoleWithWebIdentity as its base.

    keys: secret key and session token by access key id and session token, of all who may ask.
    trusted: the roles that they may assume, each with the external id that it demands, if any.
    maximum: the longest session that the roles allow.
    region: which the scope must name.
    """

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0), *, plain: bool = False) -> None:
        super().__init__(address, plain=plain)
        self.keys = {(TEMPORARY.access_key, TEMPORARY.token): TEMPORARY.secret_key}
        self.trusted: dict[str, str | None] = {FAR_ROLE: None}
        self.maximum = CHAINED_LIMIT
        self.region = "us-east-1"
        self.assumed: list[dict[str, str]] = []
        self._chained: set[str | None] = set()

    @property
    def endpoint(self) -> dict[str, str]:
        """The variables that lead here; whose role it is and by what keys is not in them."""
        return {name: self.environ[name] for name in ("AWS_ENDPOINT_URL_STS", "AWS_CA_BUNDLE")}

    @property
    def secrets(self) -> set[str]:
        return super().secrets | {token for _, token in self.keys if token} | set(self.keys.values())

    def trust_session(self) -> None:
        """Let those whom this server gave a session assume further roles, by that session."""
        self.keys[self.issued["AccessKeyId"], self.issued["Token"]] = self.issued["SecretAccessKey"]
        self._chained.add(self.issued["Token"])

    def serve(self, request: Request) -> tuple[str, Answer]:
        path, _, query = request.target.partition("?")
        if request.method == "POST":
            return super().serve(request)
        demand((request.method, path, request.body) == ("GET", "/", b""), 405, "GET / without a body")
        demand("Authorization" not in request.headers, 400, "no signature but the query's")
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
        params = dict(pairs)
        demand(len(params) == len(pairs), 400, "each parameter once")
        demand(params.get("Action") == "AssumeRole", 400, "another action")
        demand(params.get("Version") == "2011-06-15", 400, "another version")
        return "assume", self._refusal(params, query, request.headers["Host"]) or self._session(params)

    def _refusal(self, params: dict[str, str], query: str, host: str) -> Answer | None:
        access_key, date, *scope = params["X-Amz-Credential"].split("/")
        token = params.get("X-Amz-Security-Token")
        if (access_key, token) not in self.keys:
            return sts_error(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        signed_at = calendar.timegm(time.strptime(params["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
        timely = abs(time.time() - signed_at) < 300 and params["X-Amz-Date"].startswith(date)
        right = hmac.compare_digest(
            signature_of(query, host, self.keys[access_key, token]), params.get("X-Amz-Signature", "")
        )
        if not (timely and right and scope == [self.region, "sts", "aws4_request"]):
            return sts_error(403, "SignatureDoesNotMatch", "The request signature does not match the one provided.")
        duration = int(params["DurationSeconds"])
        if not 900 <= duration <= 43200:
            return sts_error(400, "ValidationError", f"Value '{duration}' at 'durationSeconds' is out of bounds")
        if not re.fullmatch(r"[\w+=,.@-]{2,64}", params["RoleSessionName"], re.ASCII):
            return sts_error(400, "ValidationError", "The value at 'roleSessionName' does not satisfy its pattern")
        role = params["RoleArn"]
        if role not in self.trusted or self.trusted[role] != params.get("ExternalId"):
            return sts_error(
                403,
                "AccessDenied",
                f"User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: {role}",
            )
        if token in self._chained and duration > CHAINED_LIMIT:
            return sts_error(
                400,
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
            )
        if duration > self.maximum:
            return sts_error(
                400,
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            )
        return None

    def _session(self, params: dict[str, str]) -> Answer:
        self.assumed.append(params)
        return issued_by("AssumeRole", self.issued)
