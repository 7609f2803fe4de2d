"""A controller in a process of its own, which holds every call of shop:plain until it is killed.

Prints its environment for the service ``shop`` as JSON; then ``held`` for every hit.
"""

import json
import sys

from chaos.action import Action
from chaos.failpoints.controller import Controller
from chaos.point import Point, When

controller = Controller(label="test", on_hit=lambda hit: print("held", flush=True))
for name in ("plain", "fetch"):
    controller.arm(Point(f"shop:{name}"), When.BEFORE, Action.pause(limit_s=60), times=None)
print(json.dumps(controller.environment("shop")), flush=True)
sys.stdin.read()
