"""The recipe of the bundled model: `python -m training COMMAND`, see README.md."""
