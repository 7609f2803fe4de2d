"""A warm parent: forks a service, which starts the agent itself. Prints what the service got."""

import json
import os
import sys

import shop

from chaos import agent

child = os.fork()
if child == 0:
    os.environ.update(json.loads(sys.argv[1]))
    agent.start()
    print(shop.plain("untouched"), flush=True)
    agent.stop()
    print(shop.plain("untouched"), flush=True)
    os._exit(0)
os.waitpid(child, 0)
