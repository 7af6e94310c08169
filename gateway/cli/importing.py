"""``headrace import``: SQL applications as CloudFormation or Terraform defines them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore.exceptions
import click

from gateway.cli import output
from gateway.cli.connection import Target, connected
from gateway.cli.failure import Failure
from gateway.cli.running import run
from gateway.cli.texts import text_of
from gateway.importing import cloudformation, hcl, terraform
from gateway.importing.definition import Definition, Understood
from streams.core.errors import HeadraceError, ValidationError
from streams.core.scope import Scope


@click.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter or variable.")
@click.option("--dry-run", is_flag=True, help="Say what was understood, and make nothing.")
@click.option("--start", is_flag=True, help="Start the applications, also those whose definition does not say so.")
@connected
def import_(target: Target, path: Path, parameters: tuple[str, ...], dry_run: bool, start: bool) -> None:
    """Make the SQL applications that PATH defines, and the streams beside them.

    PATH is a CloudFormation template (YAML or JSON), a plan of Terraform (`terraform show -json`), a file of HCL or a
    folder of them. What was understood, and what was left out, is said. ARNs become those of this server."""
    given = dict(_parameter(text) for text in parameters)
    try:
        understood = _understand(path, Scope(region=target.region), given)
        lines = understood.lines()
    except HeadraceError as error:
        raise Failure(error.message) from error
    for line in lines:
        click.echo(line)
    if not understood.applications:
        raise Failure(f"{path} defines no SQL application")
    if dry_run:
        return
    _make_streams(target, understood)
    for name, members in understood.delivery_streams.items():
        _make_delivery_stream(target, name, members)
    failed = 0
    for definition in understood.applications:
        try:
            _make(target, definition, start)
        except Failure as error:  # what is wrong with one does not hold up the rest
            output.talk(f"application {definition.name} is not as defined: {error.message}")
            failed += 1
    if failed:
        raise Failure(
            f"{failed} of {len(understood.applications)} applications could not be made as {path} defines them"
        )


def _understand(path: Path, scope: Scope, parameters: dict[str, str]) -> Understood:
    if path.is_dir():
        files = sorted(path.glob("*.tf"))
        if not files:
            raise Failure(f"{path} holds no .tf files")
        return hcl.understand_folder(files, scope, parameters)
    if path.suffix in (".tf", ".hcl"):
        return hcl.understand_folder([path], scope, parameters)
    text = text_of(path)
    if path.suffix == ".json":
        try:
            content = json.loads(text)
        except ValueError as error:
            raise Failure(f"{path} is not JSON: {error}") from error
        if isinstance(content, dict) and ("planned_values" in content or "terraform_version" in content):
            return terraform.understand_plan(content, scope)
    try:
        return cloudformation.understand(text, scope, parameters)
    except ValidationError as error:
        raise Failure(f"{path}: {error.message}") from error


def _make_streams(target: Target, understood: Understood) -> None:
    async def make() -> list[str]:
        async with target.client() as client:
            there = set(await client.list_streams())
            missing = [name for name in understood.streams if name not in there]
            for name in missing:
                await client.create_stream(name, understood.streams[name])
            return missing

    for name in run(target, make()) or []:
        output.talk(f"stream {name} is made")


def _make_delivery_stream(target: Target, name: str, members: dict[str, Any]) -> None:
    """One that cannot be made here does not hold up the rest: what it was to do may be done in another way."""
    try:
        target.aws("firehose").create_delivery_stream(DeliveryStreamName=name, **members)
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":
            output.talk(f"delivery stream {name} is not made: {error.response['Error']['Message']}")
    except botocore.exceptions.ParamValidationError as error:
        output.talk(f"delivery stream {name} is not made: {error}")
    else:
        output.talk(f"delivery stream {name} is made")


def _make(target: Target, definition: Definition, start: bool) -> None:
    members: dict[str, Any] = {"ApplicationName": definition.name, "ApplicationCode": definition.code}
    if definition.description:
        members["ApplicationDescription"] = definition.description
    # Reference data cannot be given at once, and the code is only right with it.
    late = bool(definition.references)
    if late:
        del members["ApplicationCode"]
    _call(target, "create_application", **members, Inputs=definition.inputs, Outputs=definition.outputs)
    version, name = 1, {"ApplicationName": definition.name}
    for reference in definition.references:
        _call(
            target,
            "add_application_reference_data_source",
            **name,
            CurrentApplicationVersionId=version,
            ReferenceDataSource=reference,
        )
        version += 1
    if late:
        change = {"ApplicationCodeUpdate": definition.code}
        _call(target, "update_application", **name, CurrentApplicationVersionId=version, ApplicationUpdate=change)
    output.talk(f"application {definition.name} is made")
    for function in definition.functions():
        output.talk(f"application {definition.name} needs the function {function} in the setting `functions`")
    if start or definition.position is not None:
        found = _call(target, "describe_application", **name)["ApplicationDetail"]["InputDescriptions"]
        position = {"InputStartingPosition": definition.position or "NOW"}
        begins = [{"Id": each["InputId"], "InputStartingPositionConfiguration": position} for each in found]
        _call(target, "start_application", **name, InputConfigurations=begins)
        output.talk(f"application {definition.name} is started")


def _call(target: Target, operation: str, **members: Any) -> Any:
    """Raises `Failure`, in the server's words, or the client's where it is asked for something that cannot be."""
    try:
        return getattr(target.aws("kinesisanalytics"), operation)(**members)
    except botocore.exceptions.EndpointConnectionError as error:
        raise target.down from error
    except botocore.exceptions.ClientError as error:
        raise Failure(error.response["Error"]["Message"]) from error
    except (botocore.exceptions.ParamValidationError, botocore.exceptions.HTTPClientError) as error:
        raise Failure(str(error)) from error


def _parameter(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--parameter")
    return name, value
