"""An account: DescribeLimits, DescribeAccountSettings, UpdateAccountSettings."""

from __future__ import annotations

from typing import Any

from streams.control import accounts
from streams.core.scope import Scope
from streams.operations.context import Context


async def describe_limits(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    now_ms = context.now_ms()
    streams = [stream for stream in context.catalog.of_scope(scope) if not stream.gone(now_ms) and not stream.hidden]
    return {
        "ShardLimit": context.settings.shards_max,
        "OpenShardCount": sum(stream.open_count for stream in streams),
        "OnDemandStreamCount": sum(stream.on_demand for stream in streams),
        "OnDemandStreamCountLimit": context.settings.on_demand_streams_max,
        "ChannelCount": 0,
        "ChannelCountLimit": 0,
    }


async def describe_account_settings(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    return _reply(context, scope)


async def update_account_settings(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    enabled = request.minimum_throughput_billing_commitment.status == "ENABLED"
    await context.controller.execute(lambda catalog, now_ms: accounts.commit(catalog, now_ms, scope, enabled))
    return _reply(context, scope)


def _reply(context: Context, scope: Scope) -> dict[str, Any]:
    account = context.catalog.accounts.get(scope)
    commitment: dict[str, Any] = {"Status": accounts.status(account, context.now_ms())}
    if account is not None:
        end_ms = accounts.earliest_end_ms(account)
        commitment |= {"StartedAt": account.started_ms / 1000, "EarliestAllowedEndAt": end_ms / 1000}
        if account.ended_ms is not None:
            commitment["EndedAt"] = max(account.ended_ms, end_ms) / 1000
    return {"MinimumThroughputBillingCommitment": commitment}
