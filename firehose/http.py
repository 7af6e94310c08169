"""The HTTP endpoint destination: AWS's HttpEndpointDestinationConfiguration, checked and typed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.http_endpoint import Endpoint
from firehose.outputs import Compat, complete_backup, complete_hints, refuse
from firehose.processors import complete_processing
from streams.core.errors import InvalidArgument, ValidationError

SIZE_MBS, INTERVAL_S = 5, 60
RETRY_S = 300

_HTTPS = (
    "1 validation error detected: Value at 'httpEndpointDestinationConfiguration.endpointConfiguration.url' failed to "
    "satisfy constraint: Member must satisfy regular expression pattern: https://.*"
)


@dataclass(frozen=True, slots=True)
class HttpDestination:
    """`budget_s` is how long a request that failed is tried again."""

    url: str
    access_key: str | None
    attributes: Mapping[str, str]
    gzip: bool
    budget_s: float

    @staticmethod
    def of(configuration: Mapping[str, Any]) -> HttpDestination:
        """From a configuration that has its defaults."""
        endpoint, request = configuration["EndpointConfiguration"], configuration["RequestConfiguration"]
        return HttpDestination(
            endpoint["Url"],
            endpoint.get("AccessKey"),
            {one["AttributeName"]: one["AttributeValue"] for one in request["CommonAttributes"]},
            request["ContentEncoding"] == "GZIP",
            configuration["RetryOptions"]["DurationInSeconds"],
        )

    def endpoint(self, source_arn: str, compat: Compat) -> Endpoint:
        lenient = compat == "emulator" and self.url.startswith("http://")
        return Endpoint(self.url, source_arn, self.access_key, self.attributes, self.gzip, lenient)


def complete_http(configuration: dict[str, Any], compat: Compat) -> dict[str, Any]:
    """With AWS's defaults. Raises `InvalidArgument`, `ValidationError`."""
    done = copy.deepcopy(configuration)
    if compat == "aws" and not done["EndpointConfiguration"]["Url"].startswith("https://"):
        raise ValidationError(_HTTPS)
    secrets = done.get("SecretsManagerConfiguration", {}).get("Enabled", False)
    refuse(["SecretsManagerConfiguration"] if secrets else [])
    done["BufferingHints"] = complete_hints(done.get("BufferingHints", {}), SIZE_MBS, INTERVAL_S)
    done.setdefault("CloudWatchLoggingOptions", {"Enabled": False})
    request = done.setdefault("RequestConfiguration", {})
    request.setdefault("ContentEncoding", "NONE")
    names = [attribute["AttributeName"] for attribute in request.setdefault("CommonAttributes", [])]
    if len(set(names)) < len(names):
        raise InvalidArgument("The AttributeNames of CommonAttributes have to be different.")
    done.setdefault("RetryOptions", {"DurationInSeconds": RETRY_S}).setdefault("DurationInSeconds", RETRY_S)
    done.setdefault("S3BackupMode", "FailedDataOnly")
    done["ProcessingConfiguration"] = complete_processing(done.get("ProcessingConfiguration", {"Enabled": False}))
    kinds = {processor["Type"] for processor in done["ProcessingConfiguration"].get("Processors", ())}
    if "MetadataExtraction" in kinds:
        raise InvalidArgument("Processor MetadataExtraction needs Dynamic Partitioning to be enabled.")
    complete_backup(done["S3Configuration"], compat)
    return done


def describe_http(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Without the access key, which nobody is told, and with the bucket under a description's name."""
    told = {member: value for member, value in configuration.items() if member != "S3Configuration"}
    endpoint = configuration["EndpointConfiguration"]
    told["EndpointConfiguration"] = {member: value for member, value in endpoint.items() if member != "AccessKey"}
    told["S3DestinationDescription"] = configuration["S3Configuration"]
    return told


def merge_http(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration after an update in the members of HttpEndpointDestinationUpdate. Raises `InvalidArgument`."""
    after = {**copy.deepcopy(dict(current)), **update}
    for member in ("EndpointConfiguration", "RequestConfiguration"):
        if member in update:  # an access key that is not named stays: nobody could read it to name it again
            after[member] = {**current[member], **update[member]}
    backup = after.pop("S3Update", None)
    if backup is not None:
        after["S3Configuration"] = {**current["S3Configuration"], **backup}
    if (current["S3BackupMode"], after["S3BackupMode"]) == ("AllData", "FailedDataOnly"):
        raise InvalidArgument("S3BackupMode can be changed from FailedDataOnly to AllData, and not back.")
    return after
