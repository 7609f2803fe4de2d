"""A Celery worker; its broker and its answers are directories below ``MILL_DIRECTORY``."""

import os
from pathlib import Path

import mill
from celery import Celery

directory = Path(os.environ["MILL_DIRECTORY"])
app = Celery("jobs", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": str(directory / "queue"),
    "data_folder_out": str(directory / "queue"),
    "control_folder": str(directory / "control"),
}
app.conf.worker_hijack_root_logger = False
app.conf.task_ignore_result = True


@app.task(name="answer", bind=True)
def answer(self, value, number=None):
    text = mill.answer(value, number)
    path = directory / "answers" / self.request.id
    path.with_suffix(".part").write_text(text)
    path.with_suffix(".part").rename(path)  # whoever finds it finds all of it
