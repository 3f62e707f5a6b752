"""`S3Connection`: boto3's client of one bucket, whose keys are found by reference; and what its errors mean.

    s3://bucket/prefix?endpoint=https://object.example.org:8443&credentials=file:~/.config/vre/keys&region=eu

    endpoint      the service; without one $AWS_ENDPOINT_URL, the profile's, or Amazon's. https, unless http=allowed
    credentials   profile:NAME, file:PATH or env:NAME; without one what boto3 finds by itself
    region        the profile's, or us-east-1, which services besides Amazon's do not look at
    ca            a file with the certificates that the service is verified by; without one $AWS_CA_BUNDLE
    max_mb_per_s  the most that each process exchanges with the service on average, in 10**6 bytes a second
    role, sts     `credentials` is a web-identity token, exchanged for short-lived keys of this role at that address
                  (the endpoint's own without one)

What `credentials` names is a key id, a secret key and perhaps a session token with blanks or line breaks between them,
or the JSON that `aws sts` and a `credential_process` print. It is read anew every quarter hour, and before it expires.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any, Literal

from vrecompute.addresses import service_fault
from vrecompute.errors import AbsentObject, StoreError, StoreFull, StoreRefused, TransientStore, UsageError
from vrecompute.lifetime import Lifetime, token_claims
from vrecompute.nearest import hint
from vrecompute.retries import persistent
from vrecompute.stores.address import StoreAddress
from vrecompute.stores.bandwidth import LEAST_MB_PER_S, bandwidth
from vrecompute.stores.s3keys import keys_of, renewed

__all__ = ["Fault", "S3Connection", "md5_of"]

#: Connections to one service, which as many requests share.
CONNECTIONS = 16
_CONNECT_S, _ANSWER_S = 10, 60
_OPTIONS = ("region", "ca", "role", "sts", "http", "max_mb_per_s")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_CODES: Mapping[str, str] = {
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), "absent"),
    **dict.fromkeys(("PreconditionFailed", "412"), "changed"),
    **dict.fromkeys(("NotImplemented", "501"), "unsupported"),
    **dict.fromkeys(("QuotaExceeded", "InsufficientStorage", "507"), "full"),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), "expired"),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "403"), "denied"),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"), "keys"),
    **dict.fromkeys(("InvalidIdentityToken", "IDPRejectedClaim", "401", "Unauthorized"), "keys"),
    **dict.fromkeys(("NoSuchBucket",), "bucket"),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), "clock"),
    **dict.fromkeys(("SlowDown", "Throttling", "RequestTimeout"), "passing"),
    **dict.fromkeys(("OperationAborted", "ConditionalRequestConflict", "BadDigest"), "passing"),
}  # fmt: skip
# Of boto3, by name since it is imported late: what may be tried again, and what says that no keys were found.
_PASSING = frozenset(
    {
        *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"),
        *("HTTPClientError", "ProxyConnectionError", "ResponseStreamingError", "IncompleteReadError"),
        *("ConnectionError", "ProtocolError", "ConnectionResetError", "BrokenPipeError", "TimeoutError"),
    }
)
_NO_KEYS = frozenset({"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "CredentialRetrievalError"})

Kind = Literal["passing", "absent", "changed", "unsupported", "full", "refused", "other"]


@dataclass(frozen=True)
class Fault:
    """What a request failed with, and a sentence that says why and what to do.

    `passing`: another try may help. `absent`: there is no such object. `changed`: a condition was not met.
    `unsupported`: the service does not know such a request. `full`: no space left. `refused`: keys, permissions,
    bucket, clock or certificate; every other request will fail too.
    """

    kind: Kind
    why: str


class S3Connection:
    """A bucket of one service, for any thread. Nothing is looked up or asked before the first request.

    UsageError for an address that makes no sense, and where boto3 is missing.
    """

    def __init__(self, address: StoreAddress) -> None:
        self.address = address
        self.bucket, _, prefix = address.place.partition("/")
        self.prefix = prefix.strip("/")
        for option in address.options:
            if option not in _OPTIONS:
                raise UsageError(f"{self}: there is no option {option!r}{hint(option, _OPTIONS)}")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", self.bucket):
            raise UsageError(f"s3://{address.place}: {self.bucket!r} is no name of a bucket; write s3://bucket/prefix")
        for where in (address.endpoint, address.options.get("sts", "")):
            if fault := service_fault(where):
                raise UsageError(f"{self}: {where}: {fault}")
        if address.options.get("role") and address.credentials.partition(":")[0] not in ("env", "file"):
            raise UsageError(f"{self}: a role needs a web-identity token; name it: credentials=file:PATH or env:NAME")
        self.bandwidth = bandwidth(address.endpoint, _mb_per_s(address.options.get("max_mb_per_s")))
        self._lock = threading.Lock()
        self._made: tuple[int, Any] = (0, None)
        self._credentials: Any = None

    def __repr__(self) -> str:
        return f"S3Connection({str(self.address)!r})"

    def __str__(self) -> str:
        return f"s3://{self.address.place}"

    @property
    def client(self) -> Any:
        """boto3's, made on first use in this process: it makes no second try, and does not survive a fork."""
        with self._lock:
            pid, client = self._made
            if pid != os.getpid():
                client = self._client()
                self._made = os.getpid(), client
            return client

    @property
    def endpoint(self) -> str:
        """Where requests go."""
        return str(self.client.meta.endpoint_url)

    def secret(self) -> bytes:
        """What a job is brought in a secret file: what `credentials` names, or the keys that boto3 finds here."""
        if self.address.credentials.partition(":")[0] in ("env", "file"):
            return self.address.secret().encode()
        with self.asking("the keys for a job"):
            found = self._session().get_credentials()
            if found is None:
                why = "name them: ?credentials=profile:NAME, file:PATH or env:NAME"
                raise StoreRefused(f"{self}: on {socket.gethostname()} there are no keys to bring to a job; {why}")
            keys = found.get_frozen_credentials()
        named = {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key, "SessionToken": keys.token}
        if until := getattr(found, "_expiry_time", None):  # botocore tells it nobody
            named["Expiration"] = until.isoformat()
        return json.dumps(named).encode()

    def _client(self) -> Any:
        session = self._session()
        client = self._service(session, "s3", self.address.endpoint)
        self._credentials = session.get_credentials()
        url = client.meta.endpoint_url
        if not url.startswith("https://") and self.address.options.get("http") != "allowed":
            raise UsageError(
                f"{self}: {url} is not encrypted, and everybody on the way can read and change what is sent; "
                "write https://, or add http=allowed to the address"
            )
        return client

    def _session(self) -> Any:
        """botocore's, with the keys that the address names."""
        try:
            import botocore.session
        except ImportError as error:
            raise UsageError(
                f"{self}: boto3, which speaks to S3, is not installed on {socket.gethostname()}: "
                "pip install 'vrecompute[s3]'"
            ) from error
        kind, _, name = self.address.credentials.partition(":")
        brought = self.address.is_delivered
        session = botocore.session.Session(profile=name if kind == "profile" and not brought else None)
        if kind in ("env", "file") or brought:
            keys = renewed(lambda: self._read_keys(session))
            session.register_component("credential_provider", SimpleNamespace(load_credentials=lambda: keys))
        elif self.address.endpoint:  # Amazon's machines give keys for Amazon's services alone, and others do not answer
            session.get_component("credential_provider").remove("iam-role")
        return session

    def _service(self, session: Any, name: str, endpoint: str, **keys: str) -> Any:
        from botocore.config import Config

        options = self.address.options
        config = Config(
            signature_version="s3v4" if name == "s3" else None,  # boto3 signs addresses by version 2, unless told
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=_CONNECT_S,
            read_timeout=_ANSWER_S,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            # checksums in trailers are refused by Ceph and Swift; Content-MD5 is understood by all
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        region = options.get("region") or session.get_config_variable("region") or "us-east-1"
        ca = os.path.expanduser(options["ca"]) if options.get("ca") else None
        where = {"region_name": region, "endpoint_url": endpoint or None, "verify": ca}
        return session.create_client(name, **where, config=config, **keys)

    def _read_keys(self, session: Any) -> dict[str, str | None]:
        """What the address names, as botocore has it."""
        secret, role = self.address.secret(), self.address.options.get("role")
        if not role:
            return keys_of(secret, self._named)
        endpoint = self.address.options.get("sts") or self.address.endpoint
        sts = self._service(session, "sts", endpoint, aws_access_key_id="-", aws_secret_access_key="-")  # asks for none
        with self.asking("the exchange of a web-identity token"):
            got = sts.assume_role_with_web_identity(
                RoleArn=role, RoleSessionName="vrecompute", WebIdentityToken=secret
            )["Credentials"]
        return keys_of(json.dumps(got, default=lambda moment: moment.isoformat()), f"{self}: what STS gave")

    @property
    def _named(self) -> str:
        return f"{self}: what credentials={self.address.credentials} names"

    def lifetime(self) -> Lifetime | None:
        """That of what `credentials` names; None where it tells no end, or where boto3 finds the keys by itself."""
        named = self.address.credentials.partition(":")[0] in ("env", "file")
        if not named and not self.address.is_delivered:
            return None
        try:
            secret = self.address.secret()
            if self.address.options.get("role"):
                ends, what = token_claims(secret)[0], "the web-identity token"
            else:
                until, what = keys_of(secret, self._named)["expiry_time"], "the S3 key"
                ends = None if until is None else datetime.fromisoformat(until).timestamp()
        except (StoreRefused, ValueError):  # the first request says so
            return None
        return None if ends is None else Lifetime(f"{what} of {self.address.credentials or 'this job'}", ends)

    def signed(self, key: str, life_s: float) -> tuple[str, float]:
        """A URL that reads an object for so many seconds, if its keys live that long, and when it ends in fact."""
        with self.asking("signing an address"):
            client, now = self.client, time.time()
            ends = getattr(self._credentials, "_expiry_time", None)  # botocore tells it nobody
            if ends is not None and self._credentials.get_frozen_credentials().token:  # without one keys do not expire
                life_s = max(1.0, min(life_s, self._credentials._expiry_time.timestamp() - now))
            what = {"Bucket": self.bucket, "Key": key}
            return str(client.generate_presigned_url("get_object", what, int(life_s))), now + life_s

    def ask(self, what: str, method: str, *, then: Callable[[Any], Any] = lambda answer: answer, **given: Any) -> Any:
        """What `then` makes of the answer to a request about the bucket, made again where either fails in passing.

        `method` and `given` are boto3's. Each request is tried again by itself: of many, all have to get through.
        """
        return persistent(lambda: self.ask_once(what, method, then=then, **given), TransientStore)

    def ask_once(
        self,
        what: str,
        method: str,
        *,
        then: Callable[[Any], Any] = lambda answer: answer,
        most_bytes: int | None = None,
        **given: Any,
    ) -> Any:
        """As `ask`, without another try. Of an object of more than `most_bytes` nothing but the head is read."""
        span = None if most_bytes else _RANGE.fullmatch(given.get("Range", ""))
        self.bandwidth.take(1 + int(span[2]) - int(span[1]) if span else len(given.get("Body", b"")))
        with self.asking(what):
            answer = getattr(self.client, method)(Bucket=self.bucket, **given)
            if span is None and "Body" in answer and not (most_bytes and answer["ContentLength"] > most_bytes):
                self.bandwidth.take(answer["ContentLength"])
            return then(answer)

    def head(self, what: str, key: str, ask: Callable[..., Any]) -> dict[str, Any]:
        """What a HEAD says of an object, by one of the two above. Raises why not, which the text of a GET says."""
        try:
            return dict(ask(what, "head_object", Key=key))
        except (AbsentObject, TransientStore):
            raise
        except StoreError:
            ask(what, "get_object", Key=key, Range="bytes=0-0", then=lambda answer: answer["Body"].close())
            raise

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """StoreError of its kind for what a request raises; `what` says what was asked for."""
        try:
            yield
        except Exception as error:
            if (fault := self.fault(error)) is None:
                raise
            kinds = {"passing": TransientStore, "absent": AbsentObject, "full": StoreFull, "refused": StoreRefused}
            raise kinds.get(fault.kind, StoreError)(f"{self}: {what}: {fault.why}") from error

    def fault(self, error: BaseException) -> Fault | None:
        """What an exception of boto3 means; None for any other."""
        library, name = type(error).__module__.partition(".")[0], type(error).__name__
        said = " ".join(str(error).split())[:300]
        if library not in ("botocore", "boto3", "s3transfer", "urllib3") and not isinstance(error, ConnectionError):
            return Fault("refused", self._expired()) if "credentials are still expired" in said else None
        response = getattr(error, "response", None)
        if response is not None:
            return self._answered(response, said)
        if name == "SSLError" and "certificate" in said.lower():
            return Fault(
                "refused", f"the certificate of {self._where} is not trusted here: {said}; name its authority: ca=FILE"
            )
        if name in _NO_KEYS:
            return Fault("refused", f"on {socket.gethostname()} there are no keys for {self._where}: {said}")
        if name == "ParamValidationError":
            return Fault("other", said)
        if name in _PASSING or name == "SSLError" or isinstance(error, ConnectionError):
            return Fault("passing", f"{self._where} does not answer: {said}")
        return Fault("other", said)

    def _answered(self, response: Mapping[str, Any], said: str) -> Fault:
        """What an answer of the service means: by its code, which a HEAD lacks, or by the status."""
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(response.get("Error", {}).get("Code", status))
        kind = _CODES.get(code) or _CODES.get(str(status)) or ("passing" if status >= 500 else "other")
        keys = f"the keys of {self.address.credentials or 'this user'}"
        match kind:
            case "bucket":
                return Fault("refused", f"there is no bucket {self.bucket!r} at {self._where}; make it, or correct it")
            case "denied":
                mend = "ask the owner of the bucket to permit it, or name other keys (credentials=...)"
                return Fault(
                    "refused", f"{self._where} does not permit this to {keys}, or does not know them ({code}); {mend}"
                )
            case "keys":
                return Fault("refused", f"{self._where} does not accept {keys} ({code}); correct them")
            case "expired":
                return Fault("refused", self._expired())
            case "clock":
                return Fault("refused", self._clock(response))
            case "passing":
                return Fault("passing", f"{self._where} is too busy or failed ({status} {code})")
            case "full":
                return Fault("full", f"{self._where} has no space left for it ({code}); what was written is kept")
            case "absent":
                return Fault("absent", f"there is no such object at {self._where}")
            case "changed" | "unsupported":
                return Fault(kind, said)
        return Fault("other", f"{self._where} refused it: {said}")

    @property
    def _where(self) -> str:
        client = self._made[1]
        return str(client.meta.endpoint_url if client else self.address.endpoint or "the service")

    def _expired(self) -> str:
        return (
            f"the token of {self.address.credentials or 'this user'} at {self._where} has expired: renew it; "
            "what was written is kept"
        )

    def _clock(self, response: Mapping[str, Any]) -> str:
        there = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        host = socket.gethostname()
        try:
            late = (parsedate_to_datetime(there) - datetime.now(UTC)).total_seconds()
            by = f"is {abs(late):.0f} s {'behind' if late > 0 else 'ahead of'} that of"
        except ValueError:
            by = "differs from that of"
        return f"the clock of {host} {by} {self._where}, which refuses requests for that; set it"


def md5_of(data: bytes) -> str:
    """As the header Content-MD5 has it, by which every service verifies what it was sent."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _mb_per_s(text: str | None) -> float | None:
    """The number of an option; UsageError for what is none, or too small."""
    with suppress(ValueError):
        if text is None or LEAST_MB_PER_S <= float(text) < float("inf"):
            return None if text is None else float(text)
    raise UsageError(f"max_mb_per_s={text}: give a number of megabytes a second, {LEAST_MB_PER_S} or more")
