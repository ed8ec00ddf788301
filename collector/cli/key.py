"""`collector key …`: the keys of the API."""

from typing import Annotated

import typer

from collector import clock, tags
from collector.cli.opening import Json, opened, print_json
from collector.cli.options import DataDir
from collector.settings import BadSetup
from collector.tags import ApiKey, Role

app = typer.Typer(help="The keys of the API.")


@app.command()
def create(
    role: Annotated[Role, typer.Option("--role", help="What the key may do.")],
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="The tag that it is for; else for every tag. Repeatable."),
    ] = None,
    consent_attested: Annotated[
        str,
        typer.Option(
            "--consent-attested", help="Why events sent with it have consent; else each must say so."
        ),
    ] = "",
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "",
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Create a key, and print it this once."""
    if consent_attested and role == "marketer":
        raise BadSetup("A marketer key sends no events. Mend: --consent-attested with --role server.")
    with opened(data_dir) as it:
        bound = [it.tag(each).id for each in tag] if tag else None
        key, presented = tags.create_key(
            it.client, name or f"{role} key", role, tags=bound, consent_attested=consent_attested
        )
    if as_json:
        print_json({**_shown(key), "key": presented})
    else:
        typer.echo(presented)


@app.command(name="list")
def list_keys(as_json: Json = False, data_dir: DataDir = None) -> None:
    """The keys, oldest first. The keys themselves are shown only when they are created."""
    with opened(data_dir) as it:
        found = [_shown(key) for key in tags.list_keys(it.client)]
    if as_json:
        print_json(found)
        return
    for key in found:
        scope = " ".join(key["tags"]) if key["tags"] else "every tag"
        state = f"revoked {key['revoked_at']}" if key["revoked_at"] else "in use"
        attested = f"  consent: {key['consent_attested']}" if key["consent_attested"] else ""
        typer.echo(f"{key['id']}  {key['role']:<8}  {scope}  {state}  {key['name']}{attested}")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, see `collector key list`.")],
    data_dir: DataDir = None,
) -> None:
    """End a key: within about a second nothing takes it any more."""
    with opened(data_dir) as it:
        if not tags.revoke(it.client, key_id):
            raise BadSetup(f"There is no key {key_id}. Mend: `collector key list` shows the ids.")
    typer.echo(f"Key {key_id} is revoked.")


def _shown(key: ApiKey) -> dict[str, str | list[str] | None]:
    return {
        "id": key.id,
        "role": key.role,
        "name": key.name,
        "tags": None if key.tags is None else list(key.tags),
        "consent_attested": key.consent_attested,
        "created_at": clock.iso(key.created_at),
        "revoked_at": clock.iso(key.revoked_at) if key.revoked_at else None,
    }
