"""The operations of the first API (2015-08-14), one function each."""

from __future__ import annotations

from typing import Any

from analytics.api import changes, core
from analytics.api.catalog import Application
from analytics.api.configuration import (
    describe_input,
    describe_logging,
    describe_output,
    describe_reference,
)
from analytics.api.context import Context
from analytics.api.discovery import discover
from analytics.api.events import Configuration
from analytics.api.tags import given_tags
from streams.core.plain import plain
from streams.core.scope import Scope

LIST_LIMIT = 50
"""Names of one page: AWS's most."""


async def create_application(context: Context, request: Any, scope: Scope) -> Any:
    given = plain(request)
    begun = Configuration(code=given.get("ApplicationCode", ""), description=given.get("ApplicationDescription"))
    made = [
        *(changes.with_input(each) for each in given.get("Inputs", ())),
        *(changes.with_output(each) for each in given.get("Outputs", ())),
        *(changes.with_logging(each) for each in given.get("CloudWatchLoggingOptions", ())),
    ]
    tags = given_tags(given.get("Tags", ()))
    application = await core.create(context, scope, request.application_name, begun, made, tags)
    return {"ApplicationSummary": _summary(context, application)}


async def describe_application(context: Context, request: Any, scope: Scope) -> Any:
    application = context.application(scope, request.application_name)
    configuration = application.configuration
    detail = {
        **_summary(context, application),
        "CreateTimestamp": application.created.at_ms / 1000,
        "LastUpdateTimestamp": application.updated_ms / 1000,
        "InputDescriptions": input_descriptions(application),
        "OutputDescriptions": [describe_output(given) for given in configuration.outputs],
        "ReferenceDataSourceDescriptions": [describe_reference(given) for given in configuration.references],
        "CloudWatchLoggingOptionDescriptions": [describe_logging(given) for given in configuration.logging],
        "ApplicationCode": configuration.code,
        "ApplicationVersionId": application.version,
    }
    if configuration.description is not None:
        detail["ApplicationDescription"] = configuration.description
    return {"ApplicationDetail": detail}


def input_descriptions(application: Application) -> list[dict[str, Any]]:
    begins = application.begins
    return [
        describe_input(given, begins[given["Id"]].asked if given["Id"] in begins else None)
        for given in application.configuration.inputs
    ]


async def list_applications(context: Context, request: Any, scope: Scope) -> Any:
    after = request.exclusive_start_application_name or ""
    names = [name for name in context.book.catalog.names(scope) if name > after]
    limit = request.limit or LIST_LIMIT
    listed = [_summary(context, context.application(scope, name)) for name in names[:limit]]
    return {"ApplicationSummaries": listed, "HasMoreApplications": len(names) > limit}


async def start_application(context: Context, request: Any, scope: Scope) -> Any:
    application = context.application(scope, request.application_name)
    positions = {
        given.id: core.begin_of(given.input_starting_position_configuration) for given in request.input_configurations
    }
    await core.start(context, application, positions)
    return {}


async def stop_application(context: Context, request: Any, scope: Scope) -> Any:
    await core.stop(context, context.application(scope, request.application_name))
    return {}


async def delete_application(context: Context, request: Any, scope: Scope) -> Any:
    application = context.application(scope, request.application_name)
    await core.delete(context, application, request.create_timestamp)
    return {}


async def update_application(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, request, scope, changes.updated(plain(request.application_update)))
    return {}


async def add_application_input(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, request, scope, changes.with_input(plain(request.input)))
    return {}


async def add_application_output(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, request, scope, changes.with_output(plain(request.output)))
    return {}


async def add_application_reference_data_source(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, request, scope, changes.with_reference(plain(request.reference_data_source)))
    return {}


async def add_application_cloud_watch_logging_option(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, request, scope, changes.with_logging(plain(request.cloud_watch_logging_option)))
    return {}


async def add_application_input_processing_configuration(context: Context, request: Any, scope: Scope) -> Any:
    processing = plain(request.input_processing_configuration)
    await _change(context, request, scope, changes.with_processing(request.input_id, processing))
    return {}


async def delete_application_output(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, request, scope, changes.without("outputs", request.output_id, "output"))
    return {}


async def delete_application_reference_data_source(context: Context, request: Any, scope: Scope) -> Any:
    change = changes.without("references", request.reference_id, "reference data source")
    await _change(context, request, scope, change)
    return {}


async def delete_application_cloud_watch_logging_option(context: Context, request: Any, scope: Scope) -> Any:
    change = changes.without("logging", request.cloud_watch_logging_option_id, "CloudWatch logging option")
    await _change(context, request, scope, change)
    return {}


async def delete_application_input_processing_configuration(context: Context, request: Any, scope: Scope) -> Any:
    await _change(context, request, scope, changes.with_processing(request.input_id, None))
    return {}


async def discover_input_schema(context: Context, request: Any, scope: Scope) -> Any:
    return await discover(context, plain(request), scope)


async def _change(context: Context, request: Any, scope: Scope, change: changes.Change) -> None:
    application = context.application(scope, request.application_name)
    await core.change(context, application, request.current_application_version_id, change)


def _summary(context: Context, application: Application) -> dict[str, Any]:
    return {
        "ApplicationName": application.name,
        "ApplicationARN": application.arn,
        "ApplicationStatus": context.status(application),
    }
