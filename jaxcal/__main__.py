"""`python -m jaxcal`: the command line."""

from jaxcal.cli import app

if __name__ == "__main__":
    app(prog_name="jaxcal")
