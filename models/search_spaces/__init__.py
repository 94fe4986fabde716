"""Search spaces: what can be chosen, the supernet that validates choices, the final network.

Those that come with this package are `cell`, `mobile` and `nasbench201`, a file each; registry.py says what a custom
one needs.
"""
