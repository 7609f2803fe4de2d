"""Invocation: a client operation is invoked on behalf of an actor, and its end is told."""

from __future__ import annotations

import traceback
from typing import Any

from chaos.engine.racers import Racers
from chaos.engine.stage import Stage
from chaos.history import Kind
from chaos.operation import ExpectationFailed, OperationFailed, OperationIndeterminate
from chaos.plan import Step


def perform(stage: Stage, racers: Racers, step: Step, actor: str = "") -> None:
    """Invoke one client operation on behalf of an actor; its end goes into the history.

    Raises:
        OperationFailed: the target said no.
        OperationIndeterminate: the answer was lost, or something unexpected happened: the
            operation may or may not have been carried out.
        ExpectationFailed: it asserted something that is not so.
    """
    operation = stage.target.operations[step.operation]
    label = actor or step.label
    request = stage.actors.next_request(label, step.operation, looks=operation.asserts)
    scope = racers.patient(label, stage.scope.actor(request), looks=operation.asserts)
    ident = next(stage.numbers)
    actor = label or step.operation
    stage.history.add(
        Kind.INVOKE, "client", step.operation, actor=actor, operation=ident,
        arguments=dict(step.arguments), request=request, allow=list(step.allow),
        asserts=operation.asserts,
    )  # fmt: skip

    def end(kind: Kind, **facts: Any) -> None:
        stage.history.add(kind, "client", step.operation, actor=actor, operation=ident, **facts)

    try:
        answer = operation.function(scope, **step.arguments)
    except (OperationFailed, ExpectationFailed) as error:
        end(Kind.FAIL, error=str(error), status=getattr(error, "status", None))
        raise
    except OperationIndeterminate as error:
        end(Kind.INDETERMINATE, error=str(error))
        raise
    except Exception as error:
        told = "".join(traceback.format_exception(error))
        end(Kind.INDETERMINATE, error=told)
        message = f"{step.operation} ended unexpectedly: {type(error).__name__}: {error}"
        raise OperationIndeterminate(message) from error
    end(Kind.OK, answer=answer)
