"""`python -m attn_core` is the `attn` command."""

from attn_command import main

if __name__ == "__main__":
    main()
