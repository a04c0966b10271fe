"""`python -m pacos`, which is how torchrun starts the training verb."""

from pacos.cli.main import main

main()
