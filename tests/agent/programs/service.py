"""Evaluates expressions from standard input, each in a thread of its own: [ticket, expression]."""

import json
import sys
import threading

import family
import holder
import shop

names = {**vars(shop), "shop": shop, "holder": holder, "family": family}
answering = threading.Lock()


def answer(ticket, expression):
    try:
        outcome = ["ok", eval(expression, names)]
    except Exception as error:
        outcome = ["error", f"{type(error).__name__}: {error}"]
    with answering:
        print(json.dumps([ticket, *outcome]), flush=True)


for line in sys.stdin:
    threading.Thread(target=answer, args=json.loads(line), daemon=True).start()
