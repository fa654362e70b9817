"""A page in the browser: `python studio.py ckpt=runs/…`, or `ncsn studio …`."""

from ncsn.commands.cli import run

if __name__ == "__main__":
    run("studio")
