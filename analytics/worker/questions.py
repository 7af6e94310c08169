"""Questions that are answered in a process of their own, since users' programs and users' bytes go into them."""

from __future__ import annotations

from analytics.compiler import compile_program
from analytics.errors import SqlError
from analytics.program import ERROR_STREAM, parse
from analytics.statements import TOO_DEEP
from analytics.worker.building import check_scripts, columns_of, mapping_of
from analytics.worker.discovery import discover
from analytics.worker.messages import Check, Checked, Event, Failed, Question, ReadState
from analytics.worker.tables import answer_of
from streams.core.errors import HeadraceError


def answer(question: Question) -> Event:
    try:
        if isinstance(question, ReadState):
            return answer_of(question)
        return _check(question) if isinstance(question, Check) else discover(question.records)
    except RecursionError:
        return Failed(TOO_DEEP, program=True)
    except HeadraceError as error:
        return Failed(error.message, program=isinstance(error, SqlError))


def _check(question: Check) -> Checked:
    for name, schema in (*question.inputs.items(), *question.references.items()):
        mapping_of(schema, name)
    program = parse(question.code)
    check_scripts(program, question.scripts)
    if not question.inputs:
        return Checked([*program.streams, ERROR_STREAM])
    columns = {name: columns_of(schema, name) for name, schema in question.inputs.items()}
    shapes = {name: columns_of(schema, name) for name, schema in question.references.items()}
    plan = compile_program(program, columns, shapes, set())
    return Checked([*plan.streams, ERROR_STREAM])
