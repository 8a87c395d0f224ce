"""The command line: mounts each package's commands and imports a package only when its command is used.

A gateway pod has no torch and a GPU node no FastAPI; `--help` and every other command must still work there.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

COMMANDS = {
    "demo": ("embedded.commands", "demo", "Everything on one machine: train, certify, serve, triage, review."),
    "up": ("embedded.commands", "up", "Start the embedded stack for an existing data folder."),
    "serve": ("triage.commands.serve", "serve", "The gateway alone, for a real Redis and classifier."),
    "train": ("training.commands", "train", "From labelled images to a bundle."),
    "certify": ("training.commands", "certify", "From a bundle and fresh data to rules."),
    "uses": ("training.commands", "uses", "What images have been used for."),
    "plan": ("training.report_commands", "plan", "What a promise would answer, and what it costs."),
    "report": ("training.report_commands", "report", "A page that shows what a model does, and the proof."),
    "rules": ("model_store.commands", "rules", "Show, verify and sign rules, and trust who signs them."),
    "archive": ("handlers.commands", "archive", "From a bundle to what TorchServe loads."),
    "predict": ("triage.commands.predict", "predict", "Send images to a running service."),
    "backfill": (
        "triage.commands.backfill",
        "backfill",
        "Send the images of a folder or bucket, in the service's own time.",
    ),
    "review": ("triage.commands.review", "review", "Answer items in the terminal."),
    "people": ("triage.commands.people", "people", "How people read: golds, agreement, suggestions, seconds."),
    "explain": ("triage.commands.log", "explain", "Why an image was answered so."),
    "log": ("triage.commands.log", "deployment_log", "The deployment log as Parquet."),
    "recall": ("triage.commands.recall", "recall", "Answers in doubt, and what became of them."),
    "recover": ("triage.commands.log", "recover", "Make queue and views again from the journals."),
    "keys": ("triage.commands.keys", "keys", "Who may call: make, list and revoke API keys."),
    "apply": ("triage.commands.apply", "apply", "Make control documents what files say."),
    "diff": ("triage.commands.apply", "diff", "What apply would change."),
    "release": ("triage.commands.release", "release", "Try a model at a site, put it in force, take it back."),
    "backup": ("triage.commands.backup", "backup", "Copy everything a service is made of."),
    "restore": ("triage.commands.backup", "restore", "Put a backup back into an empty place."),
    "doctor": ("triage.commands.doctor", "doctor", "What is wrong here, each finding with its mend."),
}
"""Command -> module, attribute, one line of help. The line stands here so that `--help` imports nothing."""
_EXTRA = {"embedded": "embedded", "triage": "gateway", "training": "train", "handlers": "classifier"}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        try:
            command: Any = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            extra = _EXTRA.get(module.split(".")[0])
            package = f"'secondreader[{extra}]'" if extra else "secondreader"
            raise click.ClickException(
                f"{name} needs {error.name}, which is not installed; pip install {package}"
            ) from None
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="secondreader")
def main() -> None:
    """Second Reader: the model reads every image first; where nothing is certain, a person reads second."""


if __name__ == "__main__":
    main()
