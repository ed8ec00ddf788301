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
    expires: Annotated[
        str,
        typer.Option("--expires", help="The last day (UTC) on which it works, as 2027-01-31; else for ever."),
    ] = "",
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Create a key, and print it this once."""
    if consent_attested and role == "marketer":
        raise BadSetup("A marketer key sends no events. Mend: --consent-attested with --role server.")
    try:
        expires_at = clock.end_of(expires) if expires else 0
    except ValueError:
        raise BadSetup(f"--expires {expires} is no day. Mend: write it as 2027-01-31.") from None
    if expires and expires_at <= clock.system():
        raise BadSetup(f"--expires {expires} is over. Mend: name today (UTC) or a later day.")
    with opened(data_dir) as it:
        bound = [it.tag(each).id for each in tag] if tag else None
        key, presented = tags.create_key(
            it.client,
            name or f"{role} key",
            role,
            tags=bound,
            consent_attested=consent_attested,
            expires_at=expires_at,
        )
    _print_once(key, presented, as_json)


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
        until = f"until {key['expires_at']}" if key["expires_at"] else "in use"
        state = f"revoked {key['revoked_at']}" if key["revoked_at"] else until
        attested = f"  consent: {key['consent_attested']}" if key["consent_attested"] else ""
        typer.echo(f"{key['id']}  {key['role']:<8}  {scope}  {state}  {key['name']}{attested}")


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, see `collector key list`.")],
    overlap_hours: Annotated[
        float,
        typer.Option(
            "--overlap-hours", min=0, help="Hours for which the old key still works; 24 unless told."
        ),
    ] = tags.OVERLAP / 3600,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Replace a key by another that may do the same, printed this once; the old one works for a while yet."""
    with opened(data_dir) as it:
        found = [key for key in tags.list_keys(it.client) if key.id == key_id and key.usable(clock.system())]
        if not found:
            raise BadSetup(f"There is no key {key_id} in use. Mend: `collector key list` shows the ids.")
        if found[0].name == tags.ADMIN:
            raise BadSetup(
                "The admin key is let in at every start. "
                "Mend: set COLLECTOR_ADMIN_KEY; a start with it ends the one before."
            )
        key, presented = tags.rotate(it.client, found[0], overlap=int(overlap_hours * 3600))
    _print_once(key, presented, as_json)


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


def _print_once(key: ApiKey, presented: str, as_json: bool) -> None:
    if as_json:
        print_json({**_shown(key), "key": presented})
    else:
        typer.echo(presented)


def _shown(key: ApiKey) -> dict[str, str | list[str] | None]:
    return {
        "id": key.id,
        "role": key.role,
        "name": key.name,
        "tags": None if key.tags is None else list(key.tags),
        "consent_attested": key.consent_attested,
        "created_at": clock.iso(key.created_at),
        "expires_at": clock.iso(key.expires_at) if key.expires_at else None,
        "revoked_at": clock.iso(key.revoked_at) if key.revoked_at else None,
    }
