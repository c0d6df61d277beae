"""`andon trust`: which servers this gateway trusts, and what it shows them itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agent.cli.check import CONFIG_PATH
from agent.cli.terminal import fail, print_data, print_json, say
from agent.errors import AndonError, ConfigError

if TYPE_CHECKING:
    from cryptography import x509

    from agent.trust import Trust

trust = typer.Typer(
    name="trust", help="Which servers are trusted, and this gateway's own certificate."
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The gateway's configuration.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[
    str, typer.Argument(metavar="THUMBPRINT", help="Its thumbprint, or the first 8 digits of it.")
]

OWN: Final = "own"


@trust.callback(invoke_without_command=True)
def _show_all(
    context: typer.Context, config: ConfigOption = CONFIG_PATH, json: JsonOption = False
) -> None:
    """Show which certificates are trusted, which are not, and this gateway's own.

    What is changed counts from a server's next connection on; no restart is needed.
    """
    if context.invoked_subcommand is None:
        list_(config, json)
    elif config != CONFIG_PATH:  # before the command is as good as behind it
        context.default_map = {context.invoked_subcommand: {"config": str(config)}}


@trust.command(name="list")
def list_(config: ConfigOption = CONFIG_PATH, json: JsonOption = False) -> None:
    """List all certificates; this is also what `andon trust` alone does."""
    try:
        from agent.cli.trust.tell import documents, option, tell

        store = _trust(config)
        document, warnings = documents(store), store.warnings()
    except AndonError as error:
        fail(error)
    print_json(document) if json else print_data("\n".join(tell(document, option(config))))
    for text in warnings:
        say(f"warning: {text}")


@trust.command()
def show(
    which: Annotated[
        str, typer.Argument(metavar="THUMBPRINT|own", help="A thumbprint, or `own`.")
    ] = OWN,
    pem: Annotated[bool, typer.Option("--pem", help="Print the certificate itself.")] = False,
    config: ConfigOption = CONFIG_PATH,
    json: JsonOption = False,
) -> None:
    """Show one certificate; `own` is this gateway's, for servers to trust.

    A server that wants a file gets own/cert.der, whose path is shown, or the output of --pem.
    """
    try:
        from agent.cli.trust.tell import document, tell_one
        from agent.trust.certificate import pem as pem_of

        store = _trust(config)
        if which == OWN:
            said = document(store, certificate := store.own().certificate, OWN, store.own_file)
        else:
            entry = store.find(which)
            certificate = entry.certificate
            said = document(store, certificate, entry.place, entry.file)
    except AndonError as error:
        fail(error)
    if pem:
        print_data(pem_of(certificate))
    else:
        print_json(said) if json else print_data("\n".join(tell_one(said)))


@trust.command(name="trust")
def trust_(
    which: Annotated[
        str,
        typer.Argument(
            metavar="THUMBPRINT|FILE", help="One of the rejected, or a file with certificates."
        ),
    ],
    issuer: Annotated[
        bool,
        typer.Option("--issuer", help="Only to complete chains: what it issues is not trusted."),
    ] = False,
    config: ConfigOption = CONFIG_PATH,
    json: JsonOption = False,
) -> None:
    """Trust a server's certificate, or all that an authority issues.

    A file may hold certificates or an authority's revocation list, DER or PEM.
    """
    try:
        store = _trust(config)
        file = Path(which)
        if file.is_file():
            certificates = _take(store, file, as_issuer=issuer)
        elif issuer:
            raise ConfigError(f"{which} is no file", "give the file of an authority's certificate")
        else:
            certificates = [store.trust(which)]
    except AndonError as error:
        fail(error)
    _done(store, certificates, "issuers" if issuer else "trusted", json)


@trust.command()
def reject(which: Which, config: ConfigOption = CONFIG_PATH, json: JsonOption = False) -> None:
    """Trust a certificate no longer.

    A session that is open goes on until it is next connected; restart the service to end it now.
    """
    try:
        store = _trust(config)
        certificate = store.reject(which)
    except AndonError as error:
        fail(error)
    _done(store, [certificate], "rejected", json)


@trust.command()
def rotate(
    bits: Annotated[
        int, typer.Option(help="Length of the RSA key: 2048, which all servers take, to 4096.")
    ] = 2048,
    back: Annotated[
        bool, typer.Option("--back", help="Go back to the certificate before this one.")
    ] = False,
    config: ConfigOption = CONFIG_PATH,
    json: JsonOption = False,
) -> None:
    """Exchange this gateway's certificate and private key for new ones.

    Every server must then trust the new one, and refuses the gateway's next connection until it
    does. The former is kept: `--back` takes it up again.
    """
    if bits not in (2048, 3072, 4096):
        raise typer.BadParameter("must be 2048, 3072 or 4096", param_hint="--bits")
    try:
        store = _trust(config)
        own = store.rotate_back() if back else store.rotate(bits)
    except AndonError as error:
        fail(error)
    _done(store, [own.certificate], OWN, json)


def _trust(config: Path) -> Trust:
    from agent.config import load_gateway
    from agent.config.model import PKI
    from agent.trust import Trust

    gateway = load_gateway(config)
    return Trust(gateway.data / PKI, gateway.name)


def _take(store: Trust, file: Path, *, as_issuer: bool) -> list[x509.Certificate]:
    """Keep what a file holds. Raises ConfigError."""
    from agent.trust.certificate import name, read_chain, read_revocations
    from agent.trust.files import read

    content = read(file) or b""
    try:
        revocations = read_revocations(content)
    except ValueError:
        pass
    else:
        say(f"kept as {store.add_revocations(revocations)}")
        return []
    try:
        certificates = read_chain(content)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}", "give a certificate, DER or PEM") from None
    for certificate in certificates:
        store.add(certificate, as_issuer=as_issuer)
    if len(certificates) > 1:
        say(f"{file} holds {len(certificates)}: {', '.join(map(name, certificates))}")
    return certificates


def _done(store: Trust, certificates: list[Any], place: str, json: bool) -> None:
    from agent.cli.trust.tell import changed, document

    documents = [document(store, one, place) for one in certificates]
    if json:
        print_json(documents)
        return
    for said in documents:
        print_data("\n".join(changed(said)))
