"""``python -m musclesense``: the command line, where the ``musclesense`` script is not on the path."""

from musclesense.cli.main import main

if __name__ == "__main__":
    main()
