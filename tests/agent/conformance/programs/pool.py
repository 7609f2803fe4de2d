"""Answers lines of standard input from a pool of two processes, started as the argument says."""

import json
import multiprocessing
import sys

import mill


def main():
    pool = multiprocessing.get_context(sys.argv[1]).Pool(2)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        ticket, value, number = json.loads(line)

        def done(answer, ticket=ticket):
            print(json.dumps([ticket, answer]), flush=True)

        pool.apply_async(mill.answer, (value, number), callback=done)


if __name__ == "__main__":
    main()
