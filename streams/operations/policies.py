"""PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy: policies of streams, consumers and queues."""

from __future__ import annotations

from typing import Any

from streams.control.catalog import Catalog
from streams.control.decisions import Decision
from streams.control.events import PolicyPut
from streams.control.resources import find_resource
from streams.core.errors import InvalidArgument, ResourceNotFound
from streams.core.policy import parse
from streams.core.scope import Scope
from streams.operations.context import Context

POLICY_SIZE_MAX = 20 << 10
"""Characters of a policy: AWS's."""

NONE = "{}"
"""What AWS answers where no policy was put."""


async def put_resource_policy(context: Context, request: Any, scope: Scope) -> None:
    _check(request.policy)
    await _put(context, request.resource_arn, request.policy)


async def get_resource_policy(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    resource = find_resource(context.catalog, request.resource_arn, context.now_ms())
    return {"Policy": context.catalog.policies.get(resource.arn, NONE)}


async def delete_resource_policy(context: Context, request: Any, scope: Scope) -> None:
    await _put(context, request.resource_arn, "")


async def _put(context: Context, arn: str, policy: str) -> None:
    def decide(catalog: Catalog, now_ms: int) -> Decision[None]:
        resource = find_resource(catalog, arn, now_ms)
        if not policy and resource.arn not in catalog.policies:
            raise ResourceNotFound(f"There is no resource policy on {resource.arn}.")
        return Decision(None, (PolicyPut(at_ms=now_ms, arn=resource.arn, policy=policy),))

    await context.controller.execute(decide)


def _check(policy: str) -> None:
    if len(policy) > POLICY_SIZE_MAX:
        raise InvalidArgument(f"The policy has {len(policy)} characters; {POLICY_SIZE_MAX} are the most.")
    try:
        parse(policy)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
