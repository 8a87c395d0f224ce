"""Python client for callers, for queue consumers and for those who are sent outcomes. It needs httpx and nothing else of ours.

with Client("http://127.0.0.1:8080") as client:
    prediction = client.predict(Path("leaf.jpg").read_bytes())
    for item in client.lease("default.review", reviewer="ada"):
        client.answer(item, present=[item.suggestions[0]["id"]])
"""

from triage.client.client import Client
from triage.client.items import Hold, LeasedItem
from triage.client.transport import IDLE_S, LeaseLost, ServiceError, Unreachable
from triage.client.webhooks import Webhook, verify_webhook
from triage.webhook_signature import SignatureError

__all__ = [
    "IDLE_S",
    "Client",
    "Hold",
    "LeaseLost",
    "LeasedItem",
    "ServiceError",
    "SignatureError",
    "Unreachable",
    "Webhook",
    "verify_webhook",
]
