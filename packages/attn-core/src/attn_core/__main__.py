"""Entry point of the `attn` command, also as `python -m attn_core`."""

import sys


def main() -> None:
    """Run the command, or say what to install where its libraries are missing."""
    try:
        from attn_core.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("typer", "rich"):
            sys.exit(f'The command needs {error.name}: pip install "attn-core[demo,jax]"')
        raise
    app()


if __name__ == "__main__":
    main()
