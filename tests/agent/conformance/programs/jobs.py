"""A Celery worker; its broker and its results are directories below ``MILL_DIRECTORY``."""

import os

import mill
from celery import Celery

directory = os.environ["MILL_DIRECTORY"]
app = Celery("jobs", broker="filesystem://", backend=f"file://{directory}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{directory}/queue",
    "data_folder_out": f"{directory}/queue",
    "control_folder": f"{directory}/control",
}
app.conf.worker_hijack_root_logger = False


@app.task(name="answer")
def answer(value, number=None):
    return mill.answer(value, number)
