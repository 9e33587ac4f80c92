"""STS on loopback that checks signatures with botocore, and tells what is wrong as the real one does."""

from __future__ import annotations

import calendar
import hmac
import time

from gate import Cache, sigv4
from support.checking import CallerIdentity
from support.loopback import reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.loopback import Answer, Request

MINUTES = 60


class Sts(CallerIdentity):
    """GetCallerIdentity for the keys of a cache's.

    expired: the access key ids whose session is over.
    """

    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self.keys = cache.keys
        self.expired: set[str] = set()

    def refusal(self, request: Request, pairs: list[tuple[str, str]]) -> Answer | None:
        signed = dict(pairs)
        signature = signed.pop("X-Amz-Signature")
        timestamp = signed["X-Amz-Date"]
        access_key, date, region, service, end = signed["X-Amz-Credential"].split("/")
        secret_key, session_token = self.keys.get(access_key, ("", None))
        if access_key not in self.keys or signed.get("X-Amz-Security-Token") != session_token:
            return self._error("InvalidClientTokenId", "The security token included in the request is invalid.")
        if access_key in self.expired:
            return self._error("ExpiredToken", "The security token included in the request is expired")
        if (service, end, date) != ("sts", "aws4_request", timestamp[:8]):
            return self._error("SignatureDoesNotMatch", "Credential should be scoped to correct service: 'sts'.")
        untimely = self._untimely(timestamp, int(signed["X-Amz-Expires"]))
        if untimely:
            return self._error("SignatureDoesNotMatch", untimely)
        expected = sigv4(request.headers["Host"], list(signed.items()), secret_key, service, region, timestamp)
        if not hmac.compare_digest(signature, expected):
            return self._error(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret"
                " Access Key and signing method. Consult the service documentation for details.",
            )
        return None

    def _untimely(self, timestamp: str, lifetime: int) -> str:
        now = time.time() + self.clock_offset
        signed_at = calendar.timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ"))
        if signed_at < now - lifetime:
            return f"Signature expired: {timestamp} is now earlier than {_iso(now - lifetime)} ({_iso(now)} - 15 min.)"
        if signed_at > now + 5 * MINUTES:
            later = _iso(now + 5 * MINUTES)
            return f"Signature not yet current: {timestamp} is still later than {later} ({_iso(now)} + 5 min.)"
        return ""

    def _error(self, code: str, message: str) -> Answer:
        return reply(
            403,
            f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>",
            self.date,
        )


def _iso(epoch: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(epoch))
