"""GetCallerIdentity of AWS STS, in its Query protocol: the one question of STS that clients of streams ask.

    POST /  application/x-www-form-urlencoded  Action=GetCallerIdentity&Version=2011-06-15

The daemon of the Kinesis Producer Library makes the ARN of its stream from the answer, and dies without one; people ask
it to see whether their key is right. Everybody may ask it, as at AWS. Nothing else of STS is here: keys are in the
settings.
"""

from __future__ import annotations

from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from gateway.auth import Caller
from gateway.http import Request, Response
from streams.core.errors import RequestError

OPERATION = "GetCallerIdentity"
SERVICE = "sts"

_FORM = "application/x-www-form-urlencoded"
_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_FIELDS_MAX = 16
"""Fields that are read of a form: two are sent, and SDKs add none."""

_CODES = {
    "UnrecognizedClientException": (403, "InvalidClientTokenId"),
    "ExpiredTokenException": (403, "ExpiredToken"),
    "InvalidSignatureException": (403, "SignatureDoesNotMatch"),
    "IncompleteSignatureException": (400, "IncompleteSignature"),
    "MissingAuthenticationTokenException": (403, "MissingAuthenticationToken"),
}
"""The errors of signatures, by their names in the JSON protocol, as the Query protocol calls them."""


class InvalidAction(RequestError):
    code = "InvalidAction"


def asks(request: Request) -> bool:
    """Whether it is in the Query protocol at all."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return (
        request.method == "POST"
        and kind == _FORM
        and b"Action=" in request.body
        and "x-amz-target" not in request.headers
    )


def check(request: Request) -> None:
    """Raises `InvalidAction` for another question."""
    try:
        fields = parse_qs(request.body.decode(), max_num_fields=_FIELDS_MAX)
    except ValueError:
        fields = {}
    action, version = (fields.get(name, [""])[0] for name in ("Action", "Version"))
    if action != OPERATION:
        raise InvalidAction(f"Could not find operation {action} for version {version or 'NO_VERSION_SPECIFIED'}")


def answer(caller: Caller, request_id: str) -> Response:
    """Who asks. Where signatures are not checked everybody is the account itself."""
    account = caller.scope.account
    principal = caller.principal
    arn, user = (
        (f"arn:aws:iam::{account}:root", account) if principal is None else (principal.arn, principal.access_key)
    )
    result = f"<Arn>{escape(arn)}</Arn><UserId>{escape(user)}</UserId><Account>{account}</Account>"
    return _xml(
        200,
        f'<{OPERATION}Response xmlns="{_NAMESPACE}"><{OPERATION}Result>{result}</{OPERATION}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{OPERATION}Response>",
    )


def refusal(error: RequestError, request_id: str) -> Response:
    status, code = _CODES.get(error.code, (error.status, error.code))
    told = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(error.message)}</Message>"
    return _xml(
        status,
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error>{told}</Error><RequestId>{request_id}</RequestId></ErrorResponse>',
    )


def _xml(status: int, body: str) -> Response:
    return Response(status, [("Content-Type", "text/xml")], body.encode())
