"""How a stream is kept: retention, record size, capacity mode, warm throughput, distribution, encryption, monitoring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.control import changes
from streams.control.catalog import Catalog
from streams.control.decisions import Decision, T
from streams.core.errors import InvalidArgument
from streams.core.scope import Scope
from streams.operations.addressing import addressed, by_arn, by_arn_or_id
from streams.operations.context import Context
from streams.operations.streams import warm_reply


async def increase_stream_retention_period(context: Context, request: Any, scope: Scope) -> None:
    await _retain(context, request, scope, longer=True)


async def decrease_stream_retention_period(context: Context, request: Any, scope: Scope) -> None:
    await _retain(context, request, scope, longer=False)


async def update_max_record_size(context: Context, request: Any, scope: Scope) -> None:
    key = by_arn_or_id(context, request, scope).key
    size_kib = request.max_record_size_in_ki_b
    await _change(context, lambda catalog, now_ms, ms: changes.change_record_size(catalog, now_ms, key, size_kib, ms))


async def update_stream_mode(context: Context, request: Any, scope: Scope) -> None:
    key = by_arn(context, request.stream_arn, scope).key
    on_demand = request.stream_mode_details.stream_mode == "ON_DEMAND"
    warm = request.warm_throughput_mi_bps
    await _change(context, lambda catalog, now_ms, ms: changes.change_mode(catalog, now_ms, key, on_demand, warm, ms))


async def update_stream_warm_throughput(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    key = addressed(context, request, scope).key
    mibps = request.warm_throughput_mi_bps
    stream = await _change(context, lambda catalog, now_ms, ms: changes.warm(catalog, now_ms, key, mibps, ms))
    return {"StreamARN": stream.arn, "StreamName": stream.name, "WarmThroughput": warm_reply(mibps)}


async def update_stream_record_distribution_strategy(context: Context, request: Any, scope: Scope) -> None:
    key = by_arn(context, request.stream_arn, scope).key
    strategy = request.record_distribution_strategy
    await _change(context, lambda catalog, now_ms, ms: changes.distribute(catalog, now_ms, key, strategy, ms))


async def start_stream_encryption(context: Context, request: Any, scope: Scope) -> None:
    key = addressed(context, request, scope).key
    if request.encryption_type != "KMS":
        raise InvalidArgument("EncryptionType must be KMS; StopStreamEncryption ends the encryption of a stream.")
    key_id = request.key_id
    await _change(context, lambda catalog, now_ms, ms: changes.encrypt(catalog, now_ms, key, key_id, ms))


async def stop_stream_encryption(context: Context, request: Any, scope: Scope) -> None:
    key = addressed(context, request, scope).key
    await _change(context, lambda catalog, now_ms, ms: changes.encrypt(catalog, now_ms, key, "", ms))


async def enable_enhanced_monitoring(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    return await _monitor(context, request, scope, on=True)


async def disable_enhanced_monitoring(context: Context, request: Any, scope: Scope) -> dict[str, Any]:
    return await _monitor(context, request, scope, on=False)


async def _retain(context: Context, request: Any, scope: Scope, *, longer: bool) -> None:
    key, hours = addressed(context, request, scope).key, request.retention_period_hours
    await _change(
        context, lambda catalog, now_ms, ms: changes.change_retention(catalog, now_ms, key, hours, longer, ms)
    )


async def _monitor(context: Context, request: Any, scope: Scope, *, on: bool) -> dict[str, Any]:
    key, metrics = addressed(context, request, scope).key, request.shard_level_metrics
    stream, before, after = await context.controller.execute(
        lambda catalog, now_ms: changes.monitor(catalog, now_ms, key, metrics, on)
    )
    return {
        "StreamName": stream.name,
        "CurrentShardLevelMetrics": before,
        "DesiredShardLevelMetrics": after,
        "StreamARN": stream.arn,
    }


async def _change(context: Context, decide: Callable[[Catalog, int, int], Decision[T]]) -> T:
    """`decide` takes the catalog, the time, and how long the stream is then UPDATING."""
    update_ms = context.settings.update_ms
    return await context.controller.execute(lambda catalog, now_ms: decide(catalog, now_ms, update_ms))
