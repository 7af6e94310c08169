"""The operations of the second API (2018-05-23), as far as SQL goes: the same applications in its words."""

from __future__ import annotations

from typing import Any

import msgspec

from analytics.api import changes, core, tags
from analytics.api.catalog import LAST_STOPPED_POINT, Application
from analytics.api.configuration import (
    describe_input,
    describe_logging,
    describe_output,
    describe_reference,
)
from analytics.api.context import Context
from analytics.api.discovery import discover
from analytics.api.errors import InvalidRequest
from analytics.api.events import Configuration
from analytics.api.objects import head
from analytics.api.v1 import LIST_LIMIT, input_descriptions
from analytics.api.v2_descriptions import SQL, changed, detail, token
from streams.core.errors import ConcurrentModification, InvalidArgument, ResourceNotFound, UnsupportedOperation
from streams.core.plain import plain
from streams.core.scope import Scope

CODE_SIZE_MAX = 102_400


async def create_application(context: Context, request: Any, scope: Scope) -> Any:
    given = plain(request)
    _check_runtime(given["RuntimeEnvironment"], given.get("ApplicationMode"))
    configuration = given.get("ApplicationConfiguration", {})
    sql = configuration.get("SqlApplicationConfiguration", {})
    _check_only_sql(configuration)
    begun = Configuration(
        code=await _code(context, configuration.get("ApplicationCodeConfiguration", {}), "") or "",
        description=given.get("ApplicationDescription"),
        role=given["ServiceExecutionRole"],
    )
    made = [
        *(changes.with_input(each) for each in sql.get("Inputs", ())),
        *(changes.with_output(each) for each in sql.get("Outputs", ())),
        *(changes.with_reference(each) for each in sql.get("ReferenceDataSources", ())),
        *(changes.with_logging(each) for each in given.get("CloudWatchLoggingOptions", ())),
    ]
    kept = tags.given_tags(given.get("Tags", ()))
    application = await core.create(context, scope, request.application_name, begun, made, kept)
    return {"ApplicationDetail": detail(context, application)}


async def describe_application(context: Context, request: Any, scope: Scope) -> Any:
    application = context.application(scope, request.application_name)
    return {"ApplicationDetail": detail(context, application)}


async def describe_application_version(context: Context, request: Any, scope: Scope) -> Any:
    application = context.application(scope, request.application_name)
    asked = request.application_version_id
    version = next((each for each in application.versions if each.number == asked), None)
    if version is None:
        raise ResourceNotFound(f"Application {application.arn} has no version {asked}, or not any more.")
    return {"ApplicationVersionDetail": detail(context, application, version)}


async def list_application_versions(context: Context, request: Any, scope: Scope) -> Any:
    application = context.application(scope, request.application_name)
    numbers = [each.number for each in reversed(application.versions)]
    if request.next_token is not None:
        numbers = [number for number in numbers if number < _number(request.next_token)]
    limit = request.limit or LIST_LIMIT
    status = context.status(application)
    listed = [{"ApplicationVersionId": number, "ApplicationStatus": status} for number in numbers[:limit]]
    answer: dict[str, Any] = {"ApplicationVersionSummaries": listed}
    if len(numbers) > limit:
        answer["NextToken"] = str(numbers[limit - 1])
    return answer


async def list_applications(context: Context, request: Any, scope: Scope) -> Any:
    names = [name for name in context.book.catalog.names(scope) if name > (request.next_token or "")]
    limit = request.limit or LIST_LIMIT
    found = [context.application(scope, name) for name in names[:limit]]
    answer: dict[str, Any] = {
        "ApplicationSummaries": [
            {
                "ApplicationName": each.name,
                "ApplicationARN": each.arn,
                "ApplicationStatus": context.status(each),
                "ApplicationVersionId": each.version,
                "RuntimeEnvironment": SQL,
            }
            for each in found
        ]
    }
    if len(names) > limit:
        answer["NextToken"] = names[limit - 1]
    return answer


async def start_application(context: Context, request: Any, scope: Scope) -> Any:
    """Inputs whose position is not said go on where they stopped, or begin now where they never ran."""
    application = context.application(scope, request.application_name)
    run = plain(request).get("RunConfiguration", {})
    begins = application.begins
    positions = {
        given["Id"]: LAST_STOPPED_POINT if given["Id"] in begins else "NOW"
        for given in application.configuration.inputs
    }
    for each in run.get("SqlRunConfigurations", ()):
        positions[each["InputId"]] = each["InputStartingPositionConfiguration"].get("InputStartingPosition", "NOW")
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
    application = context.application(scope, request.application_name)
    given = plain(request)
    update = given.get("ApplicationConfigurationUpdate", {})
    _check_only_sql(update)
    if "RuntimeEnvironmentUpdate" in given:
        _check_runtime(given["RuntimeEnvironmentUpdate"], None)
    change = dict(update.get("SqlApplicationConfigurationUpdate", {}))
    code = await _code(context, update.get("ApplicationCodeConfigurationUpdate", {}), "Update")
    if code is not None:
        change["ApplicationCodeUpdate"] = code
    for member in ("CloudWatchLoggingOptionUpdates", "ServiceExecutionRoleUpdate"):
        if member in given:
            change[member] = given[member]
    await core.change(context, application, _version(application, request), changes.updated(change))
    return {"ApplicationDetail": detail(context, application)}


async def rollback_application(context: Context, request: Any, scope: Scope) -> Any:
    """The configuration of the version before, as the next version."""
    application = context.application(scope, request.application_name)
    if len(application.versions) < 2:
        raise InvalidRequest(f"Application {application.arn} has no version before {application.version}.")
    previous = application.versions[-2].configuration

    def back(before: Configuration, _version: int) -> Configuration:
        return msgspec.structs.replace(previous, numbers=before.numbers)

    await core.change(context, application, request.current_application_version_id, back)
    return {"ApplicationDetail": detail(context, application)}


async def add_application_input(context: Context, request: Any, scope: Scope) -> Any:
    application = await _change(context, request, scope, changes.with_input(plain(request.input)))
    return {**changed(application), "InputDescriptions": input_descriptions(application)}


async def add_application_output(context: Context, request: Any, scope: Scope) -> Any:
    application = await _change(context, request, scope, changes.with_output(plain(request.output)))
    described = [describe_output(given) for given in application.configuration.outputs]
    return {**changed(application), "OutputDescriptions": described}


async def add_application_reference_data_source(context: Context, request: Any, scope: Scope) -> Any:
    change = changes.with_reference(plain(request.reference_data_source))
    application = await _change(context, request, scope, change)
    described = [describe_reference(given) for given in application.configuration.references]
    return {**changed(application), "ReferenceDataSourceDescriptions": described}


async def add_application_cloud_watch_logging_option(context: Context, request: Any, scope: Scope) -> Any:
    change = changes.with_logging(plain(request.cloud_watch_logging_option))
    application = await _change(context, request, scope, change)
    described = [describe_logging(given) for given in application.configuration.logging]
    return {**changed(application), "CloudWatchLoggingOptionDescriptions": described}


async def add_application_input_processing_configuration(context: Context, request: Any, scope: Scope) -> Any:
    processing = plain(request.input_processing_configuration)
    change = changes.with_processing(request.input_id, processing)
    application = await _change(context, request, scope, change)
    found = next(given for given in application.configuration.inputs if given["Id"] == request.input_id)
    described = describe_input(found, None)["InputProcessingConfigurationDescription"]
    return {
        **changed(application),
        "InputId": request.input_id,
        "InputProcessingConfigurationDescription": described,
    }


async def delete_application_output(context: Context, request: Any, scope: Scope) -> Any:
    change = changes.without("outputs", request.output_id, "output")
    return changed(await _change(context, request, scope, change))


async def delete_application_reference_data_source(context: Context, request: Any, scope: Scope) -> Any:
    change = changes.without("references", request.reference_id, "reference data source")
    return changed(await _change(context, request, scope, change))


async def delete_application_cloud_watch_logging_option(context: Context, request: Any, scope: Scope) -> Any:
    change = changes.without("logging", request.cloud_watch_logging_option_id, "CloudWatch logging option")
    application = await _change(context, request, scope, change)
    described = [describe_logging(given) for given in application.configuration.logging]
    return {**changed(application), "CloudWatchLoggingOptionDescriptions": described}


async def delete_application_input_processing_configuration(context: Context, request: Any, scope: Scope) -> Any:
    return changed(await _change(context, request, scope, changes.with_processing(request.input_id, None)))


async def discover_input_schema(context: Context, request: Any, scope: Scope) -> Any:
    return await discover(context, plain(request), scope)


def _check_runtime(runtime: str, mode: str | None) -> None:
    if runtime != SQL or mode == "INTERACTIVE":
        raise UnsupportedOperation(f"Headrace runs applications of the runtime {SQL}, not {runtime}.")


def _check_only_sql(configuration: dict[str, Any]) -> None:
    other = [
        member
        for member in configuration
        if not member.startswith(("SqlApplication", "ApplicationCode", "ApplicationSystemRollback"))
    ]
    if other:
        raise UnsupportedOperation(f"{other[0]} is not for applications of the runtime {SQL}.")


async def _code(context: Context, given: dict[str, Any], suffix: str) -> str | None:
    """The code that a request says, or has in a bucket; None where it says none."""
    if given.get(f"CodeContentType{suffix}", "PLAINTEXT") != "PLAINTEXT":
        raise InvalidArgument("The code of a SQL application is PLAINTEXT.")
    content = given.get(f"CodeContent{suffix}", {})
    if f"TextContent{suffix}" in content:
        return str(content[f"TextContent{suffix}"])
    location = content.get(f"S3ContentLocation{suffix}")
    if location is None:
        return None
    where = {member: location.get(f"{member}{suffix}", "") for member in ("BucketARN", "FileKey")}
    try:
        code = (await head(where, CODE_SIZE_MAX + 1, context.settings)).decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"Object {where['FileKey']} in {where['BucketARN']} is not UTF-8 text.") from error
    if len(code) > CODE_SIZE_MAX:
        raise InvalidArgument(f"The code has more than {CODE_SIZE_MAX} characters.")
    return code


async def _change(context: Context, request: Any, scope: Scope, change: changes.Change) -> Application:
    application = context.application(scope, request.application_name)
    return await core.change(context, application, _version(application, request), change)


def _version(application: Application, request: Any) -> int:
    """The version that the caller knows, by its number or by its token."""
    version = request.current_application_version_id
    given = getattr(request, "conditional_token", None)
    if version is None and given is None:
        raise InvalidArgument("One of CurrentApplicationVersionId and ConditionalToken is needed.")
    if given is not None and given != token(application):
        raise ConcurrentModification(
            f"The ConditionalToken is not the one of application {application.arn} as it is now."
        )
    return application.version if version is None else int(version)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise InvalidArgument(f"NextToken {text[:100]!r} is none that was answered.")
    return int(text)
