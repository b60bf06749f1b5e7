"""The typed client of the API; light to import, pleasant in a notebook.

from orchestrator.interfaces.client import Client

with Client() as client:
    job = client.submit("spec.yaml")
    for update in job.watch():
        print(update)
"""

from orchestrator.interfaces.client.client import Client
from orchestrator.interfaces.client.handle import JobHandle, Watch
from orchestrator.interfaces.client.login import Login, find_login, keep_login
from orchestrator.interfaces.client.watching import Listener, Update
from orchestrator.interfaces.wire import JobView, Overview, Progress, QueueRequest, Waiting

__all__ = [
    "Client",
    "JobHandle",
    "JobView",
    "Listener",
    "Login",
    "Overview",
    "Progress",
    "QueueRequest",
    "Update",
    "Waiting",
    "Watch",
    "find_login",
    "keep_login",
]
