"""``csc-cogd completion``."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script by which bash (4.4 or later), zsh or fish completes commands, options, their words, and files.

    For good, write it where the shell looks for such scripts; nothing is written by this command itself. For one session
    only, let the shell evaluate it.

    \b
    Examples:
      eval "$(csc-cogd completion bash)"
      csc-cogd completion bash > ~/.local/share/bash-completion/completions/csc-cogd
      csc-cogd completion zsh > ~/.zfunc/_csc-cogd      (a folder of your $fpath)
      csc-cogd completion fish > ~/.config/fish/completions/csc-cogd.fish

    \b
    Exit codes: 0 done; 2 wrong usage.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # click knows the three of them
    click.echo(found(ctx.find_root().command, {}, "csc-cogd", "_CSC_COGD_COMPLETE").source(), nl=False)
