"""HTTP interface of the placement service."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any

from targets.reference import config, context
from targets.reference.database import open_database
from targets.reference.placement.store import METADATA, Claim, Placement
from targets.reference.web import Api, Headers, HttpError, Request, serve

MAX_MICROVERSION = "1.39"


def error_body(error: HttpError) -> dict[str, Any]:
    """Put an error into Placement's shape."""
    detail = {
        "status": error.status,
        "title": HTTPStatus(error.status).phrase,
        "detail": error.message,
        "code": error.code or "placement.undefined_code",
    }
    return {"errors": [detail]}


def _parsed_claim(consumer: str, body: Any) -> Claim:
    try:
        resources = {
            provider: {name: int(amount) for name, amount in held["resources"].items()}
            for provider, held in body["allocations"].items()
        }
        if any(amount < 1 for held in resources.values() for amount in held.values()):
            raise HttpError(400, "JSON does not validate: an amount is less than the minimum of 1")
        return Claim(
            consumer, resources, body["project_id"], body["user_id"], body["consumer_generation"]
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise HttpError(400, f"JSON does not validate: {error!r}") from None


def _parsed_resources(text: str) -> dict[str, int]:
    try:
        pairs = (word.split(":") for word in text.split(","))
        return {name: int(amount) for name, amount in pairs}
    except ValueError:
        raise HttpError(400, f"Badly formed resources parameter: {text!r}") from None


def _microversion(headers: Headers) -> dict[str, str]:
    asked = headers.get("openstack-api-version", f"placement {MAX_MICROVERSION}")
    return {"OpenStack-API-Version": asked, "Vary": "OpenStack-API-Version"}


def api(placement: Placement) -> Api:
    """Return the routes."""
    api = Api(error_body, _microversion)

    @api.route("GET", "/", public=True)
    def versions(_: Request) -> dict[str, Any]:
        return {
            "versions": [
                {
                    "id": "v1.0",
                    "status": "CURRENT",
                    "min_version": "1.0",
                    "max_version": MAX_MICROVERSION,
                    "links": [{"rel": "self", "href": ""}],
                }
            ]
        }

    @api.route("GET", "/resource_providers")
    def list_providers(request: Request) -> dict[str, Any]:
        equal = {key: request.query[key] for key in ("name", "uuid") if key in request.query}
        return {"resource_providers": placement.providers(**equal)}

    @api.route("POST", "/resource_providers")
    def create_provider(request: Request) -> dict[str, Any]:
        body = request.body if isinstance(request.body, dict) else {}
        if not isinstance(body.get("name"), str):
            raise HttpError(400, "JSON does not validate: 'name' is a required property")
        return placement.create_provider(body["name"], body.get("uuid") or str(uuid.uuid4()))

    @api.route("GET", "/resource_providers/{provider}")
    def show_provider(request: Request) -> dict[str, Any]:
        return placement.provider(request.path["provider"])

    @api.route("DELETE", "/resource_providers/{provider}")
    def delete_provider(request: Request) -> None:
        placement.delete_provider(request.path["provider"])

    @api.route("GET", "/resource_providers/{provider}/inventories")
    def inventories(request: Request) -> dict[str, Any]:
        return placement.inventories(request.path["provider"])

    @api.route("PUT", "/resource_providers/{provider}/inventories")
    def set_inventories(request: Request) -> dict[str, Any]:
        body = request.body if isinstance(request.body, dict) else {}
        try:
            generation, wanted = body["resource_provider_generation"], body["inventories"]
            return placement.set_inventories(request.path["provider"], generation, wanted)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HttpError(400, f"JSON does not validate: {error!r}") from None

    @api.route("GET", "/resource_providers/{provider}/usages")
    def usages(request: Request) -> dict[str, Any]:
        return placement.usages(request.path["provider"])

    @api.route("GET", "/resource_providers/{provider}/allocations")
    def allocations_of_provider(request: Request) -> dict[str, Any]:
        return placement.allocations_of_provider(request.path["provider"])

    @api.route("GET", "/allocations/{consumer}")
    def allocations(request: Request) -> dict[str, Any]:
        return placement.allocations(request.path["consumer"])

    @api.route("PUT", "/allocations/{consumer}")
    def claim(request: Request) -> None:
        placement.claim([_parsed_claim(request.path["consumer"], request.body)])

    @api.route("POST", "/allocations")
    def claim_many(request: Request) -> None:
        body = request.body if isinstance(request.body, dict) else {}
        placement.claim([_parsed_claim(consumer, claim) for consumer, claim in body.items()])

    @api.route("DELETE", "/allocations/{consumer}")
    def release(request: Request) -> None:
        placement.release(request.path["consumer"])

    @api.route("GET", "/allocation_candidates")
    def candidates(request: Request) -> dict[str, Any]:
        return placement.candidates(_parsed_resources(request.query.get("resources", "")))

    return api


def main() -> None:
    """Run the service."""
    context.log_to_stderr()
    serve(api(Placement(open_database("placement", METADATA))), config.current())
