"""`python -m ncsn train …` is `ncsn train …`."""

from ncsn.commands.cli import main

if __name__ == "__main__":
    main()
