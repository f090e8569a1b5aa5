"""The `attn` command: its entry point, outside of attn_core.

`import attn_core` loads Keras, and with it a backend. The command chooses a backend first, and
answers some questions without any: as long as this module is loaded, attn_core stays empty.
"""

import sys


def main() -> None:
    """Run the command, or say what to install where its libraries are missing."""
    try:
        from attn_core._cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("typer", "rich"):
            sys.exit(f'The command needs {error.name}: pip install "attn-core[jax]"')
        raise
    app()
