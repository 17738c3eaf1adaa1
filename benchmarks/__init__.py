"""What this machine can do: `python -m benchmarks` (`make bench`) loads a real `idp serve` and compares it with its limits.

Nothing here asserts a time: a figure depends on the machine. It fails when a request fails or a token does not verify.
"""
