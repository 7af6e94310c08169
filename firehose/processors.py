"""Processors: the rules and defaults of AWS's ProcessingConfiguration.

BufferIntervalInSeconds is accepted and echoed; a call never waits for it, since a warm call costs a third of a
millisecond: it takes what one read of the source brought, up to BufferSizeInMBs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from firehose.outputs import MIB, refuse
from streams.core.errors import InvalidArgument

LAMBDA_DEFAULTS = {"NumberOfRetries": "3", "BufferSizeInMBs": "1", "BufferIntervalInSeconds": "60"}
LAMBDA_ORDER = ("LambdaArn", "NumberOfRetries", "RoleArn", "BufferSizeInMBs", "BufferIntervalInSeconds")
PROCESSORS_MAX = 5

_FUNCTION = re.compile(r"arn:[^:]*:lambda:[^:]*:[^:]*:function:([A-Za-z0-9_-]{1,140})(?::[A-Za-z0-9$_-]+)?\Z")


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The Lambda processor: what is called, how much at once, and how often again."""

    arn: str
    name: str
    retries: int
    size_max: int


def complete_processing(processing: Mapping[str, Any]) -> dict[str, Any]:
    """Checked, and echoed as AWS echoes it: a Lambda processor with all of its parameters, in AWS's order."""
    enabled = processing.get("Enabled", False)
    processors = list(processing.get("Processors", ()))
    if enabled and not 1 <= len(processors) <= PROCESSORS_MAX:
        raise InvalidArgument(
            f"A maximum of {PROCESSORS_MAX} and a minimum of 1 processor needs to be supplied when processing is enabled."
        )
    kinds = [processor["Type"] for processor in processors]
    if kinds.count("Lambda") > 1:
        raise InvalidArgument("Cannot have more than 1 Lambda processor")
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise InvalidArgument(f"Cannot have more than 1 {kind} processor")
    if "CloudWatchLogProcessing" in kinds and "Decompression" not in kinds:
        raise InvalidArgument("Processor CloudWatchLogProcessing needs the processor Decompression.")
    return (
        {"Enabled": enabled, "Processors": [_processor(processor) for processor in processors]}
        if processors
        else {"Enabled": enabled}
    )


def _processor(processor: Mapping[str, Any]) -> dict[str, Any]:
    kind, parameters = processor["Type"], parameters_of(processor)
    match kind:
        case "Lambda":
            given = {**LAMBDA_DEFAULTS, **parameters}
            if "LambdaArn" not in given:
                raise InvalidArgument("Processor Lambda needs the parameter LambdaArn.")
            refuse(f"Parameter {name} of the processor Lambda" for name in given if name not in LAMBDA_ORDER)
            function_call(given)
            names: Iterable[str] = (name for name in LAMBDA_ORDER if name in given)
        case "MetadataExtraction":
            given = parameters
            if given.get("JsonParsingEngine", "JQ-1.6") != "JQ-1.6" or not given.get("MetadataExtractionQuery"):
                raise InvalidArgument(
                    "Processor MetadataExtraction needs the parameters MetadataExtractionQuery and JsonParsingEngine JQ-1.6."
                )
            names = given
        case "AppendDelimiterToRecord":
            return {"Type": kind, "Parameters": []}
        case _:
            given = names = parameters
            name, values = _CHOICES[kind]
            if given.get(name, "") not in values:
                raise InvalidArgument(
                    f"Processor {kind} needs the parameter {name}, one of {', '.join(values)}, not {given.get(name)}."
                )
    return {"Type": kind, "Parameters": [{"ParameterName": n, "ParameterValue": given[n]} for n in names]}


_CHOICES = {
    "Decompression": ("CompressionFormat", ("GZIP",)),
    "CloudWatchLogProcessing": ("DataMessageExtraction", ("true", "false")),
    "RecordDeAggregation": ("SubRecordType", ("JSON", "DELIMITED")),
}
"""The parameter that a processor cannot do without, and what it may be."""


def function_call(parameters: Mapping[str, str]) -> FunctionCall:
    """The Lambda processor of these parameters, all given. Raises `InvalidArgument`."""
    arn = parameters["LambdaArn"]
    match = _FUNCTION.match(arn)
    if match is None:
        raise InvalidArgument(
            f"LambdaArn {arn} is not the ARN of a function (arn:aws:lambda:REGION:ACCOUNT:function:NAME)."
        )
    retries = _number("NumberOfRetries", parameters, 0, 300)
    size_mbs = _number("BufferSizeInMBs", parameters, 0.2, 3)
    _number("BufferIntervalInSeconds", parameters, 0, 900)
    return FunctionCall(arn, match.group(1), int(retries), int(size_mbs * MIB))


def _number(name: str, parameters: Mapping[str, str], least: float, most: float) -> float:
    try:
        value = float(parameters[name])
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise InvalidArgument(f"{name} must be between {least} and {most}, not {parameters[name]}.")
    return value


def enabled_processors(configuration: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The parameters of each processor that runs, by its type."""
    processing = configuration["ProcessingConfiguration"]
    return {p["Type"]: parameters_of(p) for p in processing.get("Processors", ())} if processing["Enabled"] else {}


def parameters_of(processor: Mapping[str, Any]) -> dict[str, str]:
    """ParameterName → ParameterValue."""
    return {parameter["ParameterName"]: parameter["ParameterValue"] for parameter in processor.get("Parameters", ())}
