"""`assistant keys`: API keys, shown once, stored hashed; creating and revoking stand in the log."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from assistant.cli.command import group, opened, operator
from assistant.cli.output import print_json, print_table


def arguments(parser: ArgumentParser) -> None:
    """Declare `keys create|list|revoke`."""
    group(
        parser,
        {
            "create": ("make a key for a user or an app; it is shown this once", _create_arguments, create),
            "list": ("list all keys, revoked ones too", None, list_),
            "revoke": ("make a key invalid at once, for good", _revoke_arguments, revoke),
        },
    )


def _create_arguments(parser: ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="ID", help="a person of people.yaml: the key speaks for them")
    whose.add_argument("--app", metavar="NAME", help="an application")
    parser.add_argument(
        "--acts-for", action="store_true", help="the app may name the end user of each request"
    )
    parser.add_argument("--as-user", metavar="ID", help="whom the app speaks for when it names nobody")


def _revoke_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="KEY-ID", help="as `keys list` shows it")


def create(args: Namespace) -> int:
    """Create a key, write `key.created`, print the secret once."""
    from assistant.audit.entry import Draft
    from assistant.errors import BadRequest

    app = opened(args)
    if args.user and (args.acts_for or args.as_user):
        raise BadRequest("A user's key speaks for that user only.", remedy="Use --app NAME.")
    speaks_for = args.user or args.as_user
    if speaks_for:
        app.people.user(speaks_for)
    log = app.log
    key, secret = app.keys.create(
        kind="user" if args.user else "app",
        name=args.user or args.app,
        user_id=speaks_for,
        acts_for=args.acts_for,
    )
    log.append(
        Draft(
            kind="key.created",
            id=key.id,
            user=operator(),
            attributes={
                "assistant.key.kind": key.kind,
                "assistant.key.name": key.name,
                "assistant.key.user": key.user_id,
                "assistant.key.acts_for": key.acts_for,
            },
        )
    )
    if args.json:
        print_json({"id": key.id, "secret": secret, "kind": key.kind, "name": key.name})
    else:
        print(secret)
        print(f"\nKey {key.id} of {key.kind} {key.name}. It is shown this once and stored hashed only.")
    return 0


def list_(args: Namespace) -> int:
    """Print every key, never a secret."""
    keys = opened(args).keys.list()
    if args.json:
        print_json(keys)
        return 0
    rows = [
        (
            k.id,
            k.kind,
            k.name,
            k.user_id or "",
            "yes" if k.acts_for else "",
            k.created_at[:19],
            k.revoked_at or "",
        )
        for k in keys
    ]
    print_table(("KEY", "KIND", "NAME", "USER", "ACTS FOR", "CREATED", "REVOKED"), rows, empty="no keys")
    return 0


def revoke(args: Namespace) -> int:
    """Revoke a key and write `key.revoked`."""
    from assistant.audit.entry import Draft

    app = opened(args)
    log = app.log
    app.keys.revoke(args.id)
    receipt = log.append(Draft(kind="key.revoked", id=args.id, user=operator()))
    if args.json:
        print_json({"id": args.id, "receipt": receipt})
    else:
        print(f"Key {args.id} is revoked (entry {receipt.index} of the log).")
    return 0
