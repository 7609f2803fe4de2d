"""From a point's name to the function in the service, and back to how it was."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.errors import PointError
from chaos.failpoints.controller import Arm, ArmRequest, Controller
from chaos.point import Point, When

from .conftest import CallFailed, Launch, Service, point


def returning(controller: Controller, path: str, value: object = "struck") -> Arm:
    return controller.arm(point(path), When.BEFORE, Action.answer(value), times=None)


@pytest.mark.parametrize("call", ["holder.through_name(1)", "holder.through_table(1)"])
def test_who_held_the_function_before_it_was_armed_is_struck_too(
    service: Service, controller: Controller, call: str
) -> None:
    returning(controller, "plain")
    assert service.ask(call) == "struck"


def test_a_method_that_uses_super_still_does(service: Service, controller: Controller) -> None:
    controller.arm(point("Shop.method"), When.BEFORE, Action.record(), times=None)
    assert service.ask("Shop().method(3)") == 3


def test_an_inherited_method_is_found_where_it_is_defined(
    service: Service, controller: Controller
) -> None:
    returning(controller, "Shop.inherited")
    assert service.ask("Base().inherited()") == "struck"


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("task.run", "task(1)"),
        ("lazy_task.run", "lazy_task(1)"),
        ("lazy_task.run", "task(1)"),
        ("cached", "cached(1)"),
        ("partial", "partial(1)"),
        ("task.method", "task.method(1)"),
    ],
)
def test_a_function_is_found_through_objects(
    service: Service, controller: Controller, path: str, call: str
) -> None:
    controller.arm(point(path), When.BEFORE, Action.answer("struck"))
    assert service.ask(call) == "struck"


def test_a_recursive_function_is_hit_at_every_depth(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("factorial"), When.AFTER, Action.record(), times=None)
    assert service.ask("factorial(4)") == 24
    assert arm.wait(5, number=5) is not None


@pytest.mark.parametrize("function", ["json:dumps", "socket:socket.__init__", "queue:Queue.put"])
def test_functions_that_the_agent_itself_may_use_can_be_armed(
    service: Service, controller: Controller, function: str
) -> None:
    service.ask("bool([__import__(name) for name in ('socket', 'queue')])")
    arm = controller.arm(Point(function), When.AFTER, Action.record(), times=None)
    uses = "__import__('json').dumps(1), __import__('queue').Queue().put(1)"
    assert service.ask(f"bool([{uses}, __import__('socket').socket().close()])")
    assert arm.wait(5) is not None
    assert controller.armed() == {"shop": (function,)}


def test_the_function_that_reads_the_request_can_be_armed(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(
        point("current_request"), When.AFTER, Action.record(), requests=("r",), times=None
    )
    assert service.ask("in_request('r', current_request)") == "r"
    assert arm.wait(5) is not None


def test_a_function_that_raises_stop_iteration_still_does(
    service: Service, controller: Controller
) -> None:
    controller.arm(point("stops"), When.AFTER, Action.record(), times=None)
    with pytest.raises(CallFailed, match=r"^StopIteration: the end$"):
        service.ask("stops()")


@pytest.mark.parametrize(
    "arguments", ["1", "1, 2, 3, third=4", "1, other=5", "*range(5), **{'first': 9}"]
)
def test_arguments_of_every_sort_arrive(
    service: Service, controller: Controller, arguments: str
) -> None:
    unarmed = service.ask(f"keywords({arguments})")
    controller.arm(point("keywords"), When.BEFORE, Action.record(), times=None)
    assert service.ask(f"keywords({arguments})") == unarmed


def test_a_wrong_call_fails_as_it_does_unarmed(service: Service, controller: Controller) -> None:
    with pytest.raises(CallFailed) as unarmed:
        service.ask("plain()")
    returning(controller, "plain")
    with pytest.raises(CallFailed) as armed:
        service.ask("plain()")
    assert str(armed.value) == str(unarmed.value)


@pytest.mark.parametrize("path", ["keywords", "fetch", "count", "Shop.method", "closure"])
def test_an_armed_function_keeps_its_signature(
    service: Service, controller: Controller, path: str
) -> None:
    unarmed = service.ask(f"signature({path})")
    returning(controller, path)
    assert service.ask(f"signature({path})") == unarmed


def test_an_armed_coroutine_function_is_one_still(service: Service, controller: Controller) -> None:
    returning(controller, "fetch")
    assert service.ask("is_coroutine_function(fetch)") is True


def test_disarming_puts_the_same_code_object_back(service: Service, controller: Controller) -> None:
    before = service.ask("id(plain.__code__)")
    arm = returning(controller, "plain")
    armed = service.ask("id(plain.__code__)")
    arm.disarm()
    assert armed != before
    assert service.ask("id(plain.__code__)") == before


def test_a_spent_arm_leaves_the_function_as_it_was(
    service: Service, controller: Controller
) -> None:
    before = service.ask("id(plain.__code__)")
    controller.arm(point("plain"), When.BEFORE, Action.record(), times=1)
    service.ask("plain(1)")
    assert controller.armed() == {"shop": ()}
    assert service.ask("id(plain.__code__)") == before


def test_disarming_one_of_two_arms_leaves_the_other(
    service: Service, controller: Controller
) -> None:
    first = controller.arm(point("plain"), When.AFTER, Action.answer("after"), times=None)
    second = controller.arm(point("plain"), When.BEFORE, Action.duplicate(), times=None)
    assert service.ask("[plain(1), len(calls)]") == ["after", 2]
    first.disarm()
    assert service.ask("[plain(1), len(calls)]") == [1, 4]
    second.disarm()
    assert service.ask("[plain(1), len(calls)]") == [1, 5]


def test_armed_lists_each_function_once(service: Service, controller: Controller) -> None:
    for when in When:
        controller.arm(point("plain"), when, Action.record(), times=None)
    returning(controller, "Shop.klass")
    assert controller.armed() == {"shop": ("shop:Shop.klass", "shop:plain")}
    controller.disarm_all()
    assert controller.armed() == {"shop": ()}


# ---------------------------------------------------------------------- modules not imported yet


LATE = Point("late:late")


def test_a_point_in_a_module_that_is_not_imported_is_pending(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(LATE, When.BEFORE, Action.answer("struck"))
    assert arm.state == {"shop": "pending"}
    assert service.ask("'late' in __import__('sys').modules") is False


def test_a_pending_point_is_armed_by_the_import(service: Service, controller: Controller) -> None:
    arm = controller.arm(LATE, When.BEFORE, Action.answer("struck"), times=None)
    assert service.ask("__import__('late').late(1)") == "struck"
    assert controller.armed() == {"shop": ("late:late",)}
    assert arm.state == {"shop": "armed"}


def test_a_module_with_pending_points_has_its_own_loader(
    service: Service, controller: Controller
) -> None:
    controller.arm(LATE, When.BEFORE, Action.answer("struck"))
    assert service.ask("__import__('late').imported_by") == "SourceFileLoader"


def test_a_pending_point_that_is_disarmed_is_not_armed_by_the_import(
    service: Service, controller: Controller
) -> None:
    controller.arm(LATE, When.BEFORE, Action.answer("struck")).disarm()
    assert service.ask("__import__('late').late(1)") == 1


def test_a_pending_point_that_turns_out_wrong_says_so(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(Point("late:lat"), When.BEFORE, Action.record())
    service.ask("bool(__import__('late'))")
    assert controller.armed() == {"shop": ()}
    assert arm.state == {"shop": "error: `late` has no `lat`; did you mean `late:late`?"}


def test_the_import_hook_stays_only_while_something_is_pending(
    service: Service, controller: Controller
) -> None:
    finders = "len(__import__('sys').meta_path)"
    before = service.ask(finders)
    arm = controller.arm(LATE, When.BEFORE, Action.record())
    assert service.ask(finders) == before + 1
    arm.disarm()
    assert service.ask(finders) == before


# ---------------------------------------------------------------------- names that mean nothing


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("shop:plane", "`shop` has no `plane`; did you mean `shop:plain`?"),
        ("shop:Shop.methud", "`shop:Shop` has no `methud`; did you mean `shop:Shop.method`?"),
        ("shop:Shopp.method", "`shop` has no `Shopp`; did you mean `shop:Shop`"),
        ("holdr:through_name", "no module `holdr`; did you mean `holder`?"),
        ("asyncio.taks:gather", "`asyncio` has no module `taks`; did you mean `asyncio.tasks`?"),
        ("shop.plain", "`shop.plain` is not of the form `module:function`"),
        ("shop:Shop", "`shop:Shop` is a class: name one of its methods"),
        ("shop:stream", "`shop:stream` is an async generator"),
        ("time:sleep", "`time:sleep` is not a function written in Python"),
        ("shop:calls", "`shop:calls` is not a function written in Python but a list"),
        ("shop:task", "but a Task; name one of its methods"),
        ("shop:lazy_task.walk", "`shop:lazy_task` has no `walk`"),
    ],
)
def test_a_name_that_cannot_be_armed_is_one_clear_error(
    service: Service, controller: Controller, function: str, message: str
) -> None:
    with pytest.raises(PointError) as error:
        controller.arm(Point(function), When.BEFORE, Action.record())
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("exception", "message"),
    [
        ("nowhere.errors:Lost", "no module `nowhere`"),
        ("holdr:Lost", "no module `holdr`; did you mean `holder`?"),
        (
            "http.cookeis:CookieError",
            "`http` has no module `cookeis`; did you mean `http.cookies` or",
        ),
        ("shop:Picki", "`shop:Picki` is no exception; did you mean `shop:Picky`?"),
        ("OSErorr", "`OSErorr` is no exception; did you mean `OSError`"),
        ("shop.Picky", "`shop.Picky` is no exception"),
        ("builtins:print", "`builtins:print` is no exception"),
    ],
)
def test_an_exception_that_cannot_be_found_is_an_error_when_it_is_armed(
    service: Service, controller: Controller, exception: str, message: str
) -> None:
    with pytest.raises(PointError) as error:
        controller.arm(point("plain"), When.BEFORE, Action.error(exception, ""))
    assert message in str(error.value)
    assert controller.armed() == {"shop": ()}


def test_when_one_of_many_points_is_wrong_none_is_armed(
    service: Service, controller: Controller
) -> None:
    requests = [
        ArmRequest(point(name), When.BEFORE, Action.record()) for name in ("plain", "nothing")
    ]
    with pytest.raises(PointError, match=r"`shop` has no `nothing`"):
        controller.arm_all(requests)
    assert controller.armed() == {"shop": ()}


def test_a_point_that_only_some_services_have_is_armed_there(
    launch: Launch, controller: Controller
) -> None:
    launch("a")
    with_late = launch("b")
    with_late.ask("setattr(shop, 'extra', lambda: 1)")
    arm = controller.arm(point("extra"), When.BEFORE, Action.record())
    assert arm.state["b"] == "armed"
    assert arm.state["a"].startswith("error: ")


def test_a_point_may_lie_in_services_of_several_patterns(
    service: Service, controller: Controller
) -> None:
    here = Point("shop:plain", services="compute-*|sho?")
    arm = controller.arm(here, When.BEFORE, Action.answer("struck"), times=None)
    assert arm.state == {"shop": "armed"}
    assert service.ask("shop.plain(7)") == "struck"


def test_a_service_that_the_pattern_leaves_out_is_not_armed(
    launch: Launch, controller: Controller
) -> None:
    launch("compute-1")
    launch("api")
    arm = controller.arm(Point("shop:plain", services="compute-*"), When.BEFORE, Action.record())
    assert arm.state == {"compute-1": "armed"}
