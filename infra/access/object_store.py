"""Users and policies of MinIO, through the one call of its administration interface that takes them all.

Other S3 stores have their own means (IAM roles, bucket policies); there nothing of this runs.
"""

import hashlib
import hmac
import io
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from catalog.trust import trusted
from infra.access.accounts import AT_TABLES, EVERYTHING, OPERATOR, Account

PATH = "/minio/admin/v3/import-iam"
READ = ["s3:GetObject"]
WRITE = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
LOOK = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]


def make_users(settings: LakeSettings, access_key: str, secret_key: str, passwords: Mapping[str, str]) -> None:
    """Make or renew the users that have a password, and the policy of each. Raises SluiceError."""
    body = _archive(settings.warehouse, passwords)
    url = settings.s3_endpoint.rstrip("/") + PATH
    headers = signed(url, body, access_key, secret_key, settings.s3_region, datetime.now(UTC))
    try:
        # No proxy of the environment is asked for an address inside the stack.
        verify = trusted(settings.s3_ca, "SLUICE_S3_CA")
        answer = httpx.put(url, content=body, headers=headers, timeout=30, trust_env=False, verify=verify)
    except httpx.HTTPError as failure:
        raise SluiceError(f"The object store {settings.s3_endpoint} does not answer: {failure}") from None
    if answer.is_error:
        raise SluiceError(
            f"The object store {settings.s3_endpoint} does not let {access_key!r} make its users ({_why(answer)}): "
            "check SLUICE_ADMIN_S3_ACCESS_KEY and SLUICE_ADMIN_S3_SECRET_KEY"
        )


def policy(account: Account, warehouse: str) -> dict[str, Any]:
    """What the account may do with the warehouse's bucket; nothing outside it. A namespace is a folder of the warehouse."""
    address = urlsplit(warehouse)
    bucket = f"arn:aws:s3:::{address.netloc}"
    folder = f"{bucket}{address.path}"
    if account.name == OPERATOR:  # makes the bucket
        return _document([_allow(["s3:*"], [bucket, f"{bucket}/*"])])
    statements = [_allow(LOOK, [bucket]), _allow(READ, [f"{folder}/*"])]
    if account.writes == EVERYTHING:
        statements.append(_allow(WRITE, [f"{folder}/*"]))
    elif account.writes:
        # pyiceberg calls the folder of a namespace `ops.db`, Trino `ops`.
        folders = [f"{folder}/{name}{end}/*" for name in account.writes for end in ("", ".db")]
        statements.append(_allow(WRITE, folders))
    return _document(statements)


def signed(url: str, body: bytes, access_key: str, secret_key: str, region: str, at: datetime) -> dict[str, str]:
    """The headers of a PUT, signed by AWS Signature Version 4 for the service `s3`."""
    address = urlsplit(url)
    moment, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    headers = {"host": address.netloc, "x-amz-content-sha256": hashlib.sha256(body).hexdigest(), "x-amz-date": moment}
    named = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"PUT\n{address.path}\n{address.query}\n{lines}\n{named}\n{headers['x-amz-content-sha256']}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={access_key}/{scope}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={named}, Signature={signature}"}


def _archive(warehouse: str, passwords: Mapping[str, str]) -> bytes:
    accounts = [account for account in AT_TABLES if account.name in passwords]
    files = {
        "policies": {f"sluice-{one.name}": policy(one, warehouse) for one in accounts},
        "users": {one.name: {"secretKey": passwords[one.name], "status": "enabled"} for one in accounts},
        "user_mappings": {one.name: {"version": 1, "policy": f"sluice-{one.name}"} for one in accounts},
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, document in files.items():
            archive.writestr(f"iam-assets/{name}.json", json.dumps(document))
    return content.getvalue()


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _why(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["Message"])
    except (ValueError, LookupError, TypeError):
        return f"status {answer.status_code}"
