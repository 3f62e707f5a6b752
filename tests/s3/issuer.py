"""An issuer of OpenID Connect tokens at loopback, which a service's STS is told to trust."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from vrecompute.stores.address import StoreAddress

_AUDIENCE = "vrecompute"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _policy(**statement: Any) -> str:
    """Without blanks: Ceph 16 takes the `+` of a form for itself."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}, separators=(",", ":"))


class _Issuer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Documents)
        self.url = f"http://localhost:{self.server_port}"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
        made = made.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
        self.certificate = made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)
        public = self.key.public_key().public_numbers()
        number = {"n": public.n.to_bytes(256, "big"), "e": public.e.to_bytes(3, "big")}
        self.kid = secrets.token_hex(8)
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, **{k: _text(v) for k, v in number.items()}}
        key["x5c"] = [base64.b64encode(self.certificate).decode()]
        self.documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": [key]},
        }

    def token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "alice",
            "aud": _AUDIENCE,
            "client_id": _AUDIENCE,
            "iat": now,
            "exp": now + 900,
        }
        head = {"alg": "RS256", "typ": "JWT", "kid": self.kid}
        said = ".".join(_text(json.dumps(part).encode()) for part in (head, claims))
        return f"{said}.{_text(self.key.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class _Documents(BaseHTTPRequestHandler):
    server: _Issuer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        document = self.server.documents.get(self.path.split("?")[0])
        body = json.dumps(document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def issuing(url: str, bucket: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """(the name of a role that may read and write the bucket, what makes a token for it) at the service of a store."""
    address = StoreAddress.parse(url)
    key, secret = address.secret().split()
    where = {"endpoint_url": address.endpoint, "verify": address.options["ca"], "region_name": "us-east-1"}
    iam = boto3.client("iam", aws_access_key_id=key, aws_secret_access_key=secret, **where)
    with _Issuer() as issuer:
        threading.Thread(target=issuer.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        thumbprint = hashlib.sha1(issuer.certificate, usedforsecurity=False).hexdigest().upper()
        provider = iam.create_open_id_connect_provider(
            Url=issuer.url, ClientIDList=[_AUDIENCE], ThumbprintList=[thumbprint]
        )["OpenIDConnectProviderArn"]
        trusted = _policy(
            Principal={"Federated": [provider]},
            Action=["sts:AssumeRoleWithWebIdentity"],
            Condition={"StringEquals": {f"{issuer.url.partition('://')[2]}:app_id": _AUDIENCE}},
        )
        name = f"writer-{secrets.token_hex(4)}"
        role = iam.create_role(RoleName=name, Path="/", AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
        all_of = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=_policy(Action=["s3:*"], Resource=all_of))
        try:
            yield role, issuer.token
        finally:
            iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider)
            issuer.shutdown()
