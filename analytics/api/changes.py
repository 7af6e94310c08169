"""A configuration and what may be done to it, whichever API asks: pure functions, from version to version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from analytics.api.configuration import (
    INPUTS_MAX,
    OUTPUTS_MAX,
    REFERENCES_MAX,
    check_input,
    check_output,
    check_schema,
    updated_input,
    updated_logging,
    updated_output,
    updated_reference,
)
from analytics.api.events import Configuration
from streams.core.errors import InvalidArgument, ResourceNotFound

Change = Callable[[Configuration, int], Configuration]
"""From the configuration in force and the number of the next version to the next configuration."""


def with_input(given: Mapping[str, Any]) -> Change:
    def change(before: Configuration, version: int) -> Configuration:
        check_input(given)
        inputs = (*before.inputs, _identified(given, before.inputs, version))
        if len(inputs) > INPUTS_MAX:
            raise InvalidArgument(f"An application has at most {INPUTS_MAX} input.")
        return msgspec.structs.replace(before, inputs=inputs)

    return change


def with_output(given: Mapping[str, Any]) -> Change:
    def change(before: Configuration, version: int) -> Configuration:
        check_output(given)
        made = {**_identified(given, before.outputs, version), "Number": before.numbers}
        outputs = (*before.outputs, made)
        if len(outputs) > OUTPUTS_MAX:
            raise InvalidArgument(f"An application has at most {OUTPUTS_MAX} outputs.")
        return msgspec.structs.replace(before, outputs=outputs, numbers=before.numbers + 1)

    return change


def with_reference(given: Mapping[str, Any]) -> Change:
    def change(before: Configuration, version: int) -> Configuration:
        check_schema(given["ReferenceSchema"], "ReferenceSchema")
        references = (*before.references, _identified(given, before.references, version))
        if len(references) > REFERENCES_MAX:
            raise InvalidArgument(f"An application has at most {REFERENCES_MAX} reference data source.")
        return msgspec.structs.replace(before, references=references)

    return change


def with_logging(given: Mapping[str, Any]) -> Change:
    return lambda before, version: msgspec.structs.replace(
        before, logging=(*before.logging, _identified(given, before.logging, version))
    )


def with_processing(input_id: str, processing: Mapping[str, Any] | None) -> Change:
    """None takes the function away."""

    def change(before: Configuration, version: int) -> Configuration:
        found = _find(before.inputs, input_id, "input")
        made = {member: value for member, value in found.items() if member != "InputProcessingConfiguration"}
        if processing is not None:
            made["InputProcessingConfiguration"] = processing
            check_input(made)
        elif "InputProcessingConfiguration" not in found:
            raise ResourceNotFound(f"Input {input_id} has no processing configuration.")
        return msgspec.structs.replace(before, inputs=_replaced(before.inputs, made))

    return change


def without(member: str, identity: str, what: str) -> Change:
    """`member` is one of *outputs*, *references* and *logging*."""

    def change(before: Configuration, version: int) -> Configuration:
        among: Sequence[dict[str, Any]] = getattr(before, member)
        _find(among, identity, what)
        return msgspec.structs.replace(before, **{member: tuple(one for one in among if one["Id"] != identity)})

    return change


def updated(update: Mapping[str, Any]) -> Change:
    """The first API's ApplicationUpdate."""

    def change(before: Configuration, version: int) -> Configuration:
        inputs, outputs, references, logging = before.inputs, before.outputs, before.references, before.logging
        for each in update.get("InputUpdates", ()):
            made = updated_input(_find(inputs, each["InputId"], "input"), each)
            check_input(made)
            inputs = _replaced(inputs, made)
        for each in update.get("OutputUpdates", ()):
            made = updated_output(_find(outputs, each["OutputId"], "output"), each)
            check_output(made)
            outputs = _replaced(outputs, made)
        for each in update.get("ReferenceDataSourceUpdates", ()):
            made = updated_reference(_find(references, each["ReferenceId"], "reference data source"), each)
            check_schema(made["ReferenceSchema"], "ReferenceSchema")
            references = _replaced(references, made)
        for each in update.get("CloudWatchLoggingOptionUpdates", ()):
            found = _find(logging, each["CloudWatchLoggingOptionId"], "CloudWatch logging option")
            logging = _replaced(logging, updated_logging(found, each))
        return msgspec.structs.replace(
            before,
            code=update.get("ApplicationCodeUpdate", before.code),
            inputs=inputs,
            outputs=outputs,
            references=references,
            logging=logging,
            role=update.get("ServiceExecutionRoleUpdate", before.role),
        )

    return change


def reads_another(before: Configuration, after: Configuration) -> bool:
    """Whether an input has another source now."""
    sources = [
        [
            given.get(member, {}).get("ResourceARN")
            for given in one.inputs
            for member in ("KinesisStreamsInput", "KinesisFirehoseInput")
        ]
        for one in (before, after)
    ]
    return sources[0] != sources[1]


def _identified(given: Mapping[str, Any], among: Sequence[Mapping[str, Any]], version: int) -> dict[str, Any]:
    """With the next id of its kind: version and number, as AWS makes them."""
    number = 1 + sum(one["Id"].partition(".")[0] == str(version) for one in among)
    return {"Id": f"{version}.{number}", **given}


def _find(among: Sequence[dict[str, Any]], identity: str, what: str) -> dict[str, Any]:
    found = next((one for one in among if one["Id"] == identity), None)
    if found is None:
        raise ResourceNotFound(f"The application has no {what} with the id {identity}.")
    return found


def _replaced(among: Sequence[dict[str, Any]], made: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple(made if one["Id"] == made["Id"] else one for one in among)
