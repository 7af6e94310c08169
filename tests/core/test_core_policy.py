"""Policies: what they allow, what they deny, and what is refused instead of being passed over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.policy import Attempt, parse, verdict

ARN = "arn:aws:kinesis:eu-west-1:111111111111:stream/orders"
USER = "arn:aws:iam::222222222222:user/ann"


def attempt(action: str = "kinesis:PutRecord", resource: str = ARN, **context: str) -> Attempt:
    return Attempt(
        USER, "222222222222", action, resource, {name.replace("_", ":"): one for name, one in context.items()}
    )


def statement(**members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": "*", "Action": "kinesis:*", "Resource": ARN} | members


def decide(*statements: dict[str, Any], on: Attempt | None = None) -> str | None:
    return verdict(parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)})), on or attempt())


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "allow"),
        ({"Action": "kinesis:PutRecord*"}, "allow"),
        ({"Action": ["kinesis:GetRecords", "KINESIS:putrecord"]}, "allow"),
        ({"Action": "kinesis:PutRecords"}, None),
        ({"Action": "kinesis:PutRecor?"}, "allow"),
        ({"Action": "*"}, "allow"),
        ({"Action": "firehose:*"}, None),
        ({"Resource": "arn:aws:kinesis:*:*:stream/ord*"}, "allow"),
        ({"Resource": [ARN + "2", "*"]}, "allow"),
        ({"Resource": ARN + "2"}, None),
        ({"Resource": "arn:aws:kinesis:*:*:stream/[o]rders"}, None),
        ({"Principal": {"AWS": USER}}, "allow"),
        ({"Principal": {"AWS": "222222222222"}}, "allow"),
        ({"Principal": {"AWS": ["arn:aws:iam::222222222222:root"]}}, "allow"),
        ({"Principal": {"AWS": "arn:aws:iam::222222222222:user/bob"}}, None),
        ({"Principal": {"Service": "lambda.amazonaws.com"}}, None),
        ({"Effect": "Deny"}, "deny"),
        ({"Condition": {"StringEquals": {"aws:PrincipalAccount": "222222222222"}}}, "allow"),
        ({"Condition": {"StringNotEquals": {"aws:PrincipalAccount": "222222222222"}}}, None),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/a*"}}}, "allow"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]}}}, "allow"),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, None),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "::1"}}}, None),
        ({"Condition": {"Bool": {"aws:SecureTransport": True}}}, None),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, "allow"),
        ({"Condition": {"StringEquals": {"aws:username": "ann"}}}, None),
        ({"Condition": {"StringEqualsIfExists": {"aws:username": "ann"}}}, "allow"),
        ({"Condition": {"StringLike": {"aws:PrincipalArn": "*"}, "Bool": {"aws:SecureTransport": "true"}}}, None),
    ],
    ids=repr,
)
def test_a_statement_applies_as_iam_says(members: dict[str, Any], expected: str | None) -> None:
    context = {
        "aws_principalaccount": "222222222222",
        "aws_principalarn": USER,
        "aws_sourceip": "10.1.2.3",
        "aws_securetransport": "false",
    }
    assert decide(statement(**members), on=attempt(**context)) == expected


def test_what_is_negated_applies_to_the_rest() -> None:
    rest = {"Effect": "Allow", "Principal": "*", "NotAction": "kinesis:Delete*", "NotResource": ARN + "2"}
    assert decide(rest) == "allow"
    assert decide(rest, on=attempt("kinesis:DeleteStream")) is None
    assert decide(rest, on=attempt(resource=ARN + "2")) is None


def test_a_deny_wins_wherever_it_stands() -> None:
    deny = statement(Effect="Deny", Action="kinesis:PutRecord")
    assert decide(statement(), deny) == decide(deny, statement()) == "deny"
    assert decide(statement(), deny, on=attempt("kinesis:GetRecords")) == "allow"
    assert decide() is None


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"Effect": "Maybe"}, "neither Allow nor Deny"),
        ({"Action": []}, "not a string or a list of strings"),
        ({"Action": [1]}, "not a string or a list of strings"),
        ({"Action": "PutRecord"}, "no service"),
        ({"NotAction": "kinesis:*"}, "not one of Action and NotAction"),
        ({"Principal": "ann"}, "Principal of Statement 1"),
        ({"Principal": {"Federated": "x"}}, "member Federated"),
        ({"Principle": "*"}, "member Principle"),
        ({"Condition": {"DateLessThan": {"aws:CurrentTime": "2030"}}}, "operator DateLessThan"),
        ({"Condition": {"StringEquals": {"aws:RequestTag/a": "b"}}}, "asks for aws:RequestTag/a"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "ten"}}}, "no IP address"),
        ({"Condition": {"StringEquals": []}}, "not an object"),
    ],
    ids=repr,
)
def test_what_cannot_be_evaluated_is_refused_with_its_place(members: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decide(statement(**members))


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda one: (
            st.lists(one)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Statement",
                        "Effect",
                        "Principal",
                        "AWS",
                        "Action",
                        "Resource",
                        "Condition",
                        "Bool",
                        "aws:SourceIp",
                    ]
                ),
                one,
            )
        ),
    )
)
def test_any_json_is_a_policy_or_refused(value: Any) -> None:
    try:
        statements = parse(json.dumps(value))
    except ValueError as error:
        assert str(error)  # noqa: PT017
    else:
        assert verdict(statements, attempt()) in ("allow", "deny", None)


def test_a_pattern_of_many_stars_is_no_trap() -> None:
    """Backtracking over it would outlive the test's time limit by ages."""
    many = statement(Resource="*a" * 200 + "b")
    assert decide(many) is None
    assert decide(many, on=attempt(resource="a" * 2000)) is None
    assert decide(many, on=attempt(resource="a" * 2000 + "b")) == "allow"
