"""Who may do what with the identity service."""

from __future__ import annotations

from targets.reference.policy import Policy, anybody, operator

POLICY = Policy(
    "You are not authorized to perform the requested action: identity:{}.",
    {
        "check_grant": operator,
        "create_grant": operator,
        "create_project": operator,
        "create_role": operator,
        "create_user": operator,
        "delete_project": operator,
        "delete_role": operator,
        "delete_user": operator,
        "get_auth_catalog": anybody,
        "get_auth_projects": anybody,
        "get_domain": anybody,
        "get_project": anybody,  # of others than his own, only an administrator
        "get_role": anybody,
        "get_user": anybody,  # others than himself, only an administrator
        "list_catalog": anybody,
        "list_domains": operator,
        "list_grants": operator,
        "list_projects": operator,
        "list_role_assignments": operator,
        "list_roles": anybody,
        "list_user_projects": anybody,  # of others than himself, only an administrator
        "list_users": operator,
        "revoke_grant": operator,
        "revoke_token": anybody,
        "update_project": operator,
        "update_role": operator,
        "update_user": operator,
        "validate_token": anybody,
    },
)
"""What Keystone calls ``identity:`` and this."""
