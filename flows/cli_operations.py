"""The commands of those who run babelmill day after day: take-down, history, cleaning, watching, serving."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import reporting

operations = typer.Typer()
_PANEL = "Operations"

Root = Annotated[str, typer.Option(help="Where everything is kept: a folder or an fsspec URL such as s3://bucket/x.")]
Name = Annotated[str, typer.Option("--corpus", "-c", help="Which corpus below the root.")]


@operations.command(rich_help_panel=_PANEL)
def remove(  # noqa: PLR0917 - typer makes options of them
    corpus: Name,
    root: Root = "runs",
    url: Annotated[list[str] | None, typer.Option(help="Address of a page, in every crawl. Repeatable.")] = None,
    host: Annotated[list[str] | None, typer.Option(help="Host with all its pages and subdomains. Repeatable.")] = None,
    document: Annotated[list[str] | None, typer.Option(help="doc_id, 32 hexadecimal digits. Repeatable.")] = None,
    personal: Annotated[
        list[str] | None,
        typer.Option(help="E-mail address, phone or IP number that a page holds; only digests are kept."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    purge: Annotated[
        bool, typer.Option("--purge", help="Erase older versions too, which still hold what is removed.")
    ] = False,
) -> None:
    """Take documents out of a corpus for good: all tables follow, and no later crawl brings them back."""
    with reporting():
        from flows.config import RemoveConfig
        from flows.loading import parse_config
        from flows.running import run_removal, show_counts
        from flows.terminal import say

        settings = {
            "root": root,
            "corpus": corpus,
            "urls": url or [],
            "hosts": host or [],
            "documents": document or [],
            "personal": [_digest(value) for value in personal or []],
            "reason": reason,
            "purge": purge,
        }
        report = run_removal(parse_config(settings, RemoveConfig, "remove"))
        show_counts(report)
        say(f"Version {report.version} of {report.corpus} is without them: {report.release}")
        if not purge:
            say("Older versions still hold them; this erases these versions:")
            say(f"  babelmill gc --root {root} --corpus {corpus} --keep 1 --grace-hours 0 --yes")


@operations.command(rich_help_panel=_PANEL)
def digest(
    value: Annotated[str, typer.Argument(help="An e-mail address, phone or IP number.")],
) -> None:
    """Print the digest of personal data, which the form of remove-documents asks for in place of the data."""
    with reporting():
        from flows.terminal import say

        say(_digest(value))


@operations.command(rich_help_panel=_PANEL)
def history(
    root: Root = "runs",
    corpus: Annotated[str | None, typer.Option("--corpus", "-c", help="Only this corpus.")] = None,
) -> None:
    """Show the versions of each corpus: when, from which crawls, how much, and why."""
    with reporting():
        from flows.housekeeping import show_history

        show_history(root, corpus)


@operations.command(rich_help_panel=_PANEL)
def diff(
    old: Annotated[str, typer.Argument(help="A version: its number, or CORPUS:NUMBER.")],
    new: Annotated[str, typer.Argument(help="The version to compare with it.")],
    root: Root = "runs",
) -> None:
    """Show what differs between two versions: crawls, sentences, pairs gained and lost, settings."""
    with reporting():
        from flows.housekeeping import show_difference

        show_difference(root, old, new)


@operations.command(rich_help_panel=_PANEL)
def gc(
    root: Root = "runs",
    corpus: Annotated[
        str | None, typer.Option("--corpus", "-c", help="Give up old versions of this corpus only.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Newest versions of each corpus that stay; all if not given.")
    ] = None,
    grace_hours: Annotated[
        float, typer.Option(min=0.0, help="What changed more recently stays: a run may need it.")
    ] = 24.0,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only shown.")] = False,
) -> None:
    """Show what no kept version of any corpus needs, and remove it with --yes."""
    with reporting():
        from flows.build_corpus import building
        from flows.housekeeping import Cleaning, clean
        from flows.loading import parse_config

        settings = {"keep": keep, "corpus": corpus, "grace_hours": grace_hours}
        clean(root, parse_config(settings, Cleaning, "gc"), building, really=yes)


@operations.command(rich_help_panel=_PANEL)
def watch(  # noqa: PLR0917
    url: Annotated[str, typer.Argument(help="Where crawls arrive; each folder in it is one. Local or any fsspec URL.")],
    root: Root = "runs",
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 60.0,
    marker: Annotated[
        str | None, typer.Option(help="A crawl has arrived when its folder holds this file, such as _SUCCESS.")
    ] = None,
    stable: Annotated[
        float, typer.Option(min=0.0, help="And when its files have not changed for so many seconds; with a marker too.")
    ] = 300.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end, for cron.")] = False,
) -> None:
    """Notice crawls as they arrive, and tell Prefect, whose deployment build-corpus then runs."""
    with reporting():
        from flows.loading import parse_config
        from flows.watching import Watch
        from flows.watching import watch as begin

        settings = {"url": url, "root": root, "every_seconds": every, "marker": marker, "stable_seconds": stable}
        begin(parse_config(settings, Watch, "watch"), once=once)


@operations.command(rich_help_panel=_PANEL)
def serve(
    home: Annotated[
        Path | None, typer.Option(help="Folder of the server's records; .babelmill here if PREFECT_HOME is not set.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of the Prefect server, on this machine only.")
    ] = 4200,
) -> None:
    """Start a Prefect server, the deployments of prefect.yaml and a worker; Ctrl-C ends them all."""
    with reporting():
        from flows.serving import serve as begin

        begin(home, port)


def _digest(value: str) -> str:
    from storage.errors import ConfigError
    from tasks.text.removals import personal_digest

    try:
        return personal_digest(value)
    except ValueError as error:
        raise ConfigError(f"personal: {error}") from error
