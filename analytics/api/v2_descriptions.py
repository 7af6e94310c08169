"""What the second API tells about an application."""

from __future__ import annotations

import hashlib
from typing import Any

from analytics.api.catalog import Application
from analytics.api.configuration import describe_input, describe_logging, describe_output, describe_reference
from analytics.api.context import Context
from analytics.api.events import Version

SQL = "SQL-1_0"
"""The runtime of every application here."""


def token(application: Application) -> str:
    """Of the version in force: a change may be asked with it instead of the version."""
    text = f"{application.arn} {application.created.at_ms} {application.version}"
    return hashlib.sha256(text.encode()).hexdigest()


def changed(application: Application) -> dict[str, Any]:
    """What most changes answer."""
    return {"ApplicationARN": application.arn, "ApplicationVersionId": application.version}


def detail(context: Context, application: Application, version: Version | None = None) -> dict[str, Any]:
    """Of a version, or of the one in force."""
    shown = application.versions[-1] if version is None else version
    configuration = shown.configuration
    sql = {
        "InputDescriptions": [
            describe_input(given, application.begins[given["Id"]].asked if given["Id"] in application.begins else None)
            for given in configuration.inputs
        ],
        "OutputDescriptions": [describe_output(given) for given in configuration.outputs],
        "ReferenceDataSourceDescriptions": [describe_reference(given) for given in configuration.references],
    }
    told = {
        "ApplicationARN": application.arn,
        "ApplicationName": application.name,
        "RuntimeEnvironment": SQL,
        "ApplicationStatus": context.status(application),
        "ApplicationVersionId": shown.number,
        "CreateTimestamp": application.created.at_ms / 1000,
        "LastUpdateTimestamp": application.updated_ms / 1000,
        "ApplicationVersionCreateTimestamp": shown.at_ms / 1000,
        "ApplicationConfigurationDescription": {
            "SqlApplicationConfigurationDescription": sql,
            "ApplicationCodeConfigurationDescription": {
                "CodeContentType": "PLAINTEXT",
                "CodeContentDescription": {"TextContent": configuration.code},
            },
        },
        "CloudWatchLoggingOptionDescriptions": [describe_logging(given) for given in configuration.logging],
        "ApplicationMode": "STREAMING",
    }
    if version is None:
        told["ConditionalToken"] = token(application)
    if configuration.description is not None:
        told["ApplicationDescription"] = configuration.description
    if configuration.role is not None:
        told["ServiceExecutionRole"] = configuration.role
    return told
