"""The figures of a finished run: `python -m mnist_lightning report RUN`."""
