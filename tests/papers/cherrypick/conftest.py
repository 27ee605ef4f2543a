"""The PyTorch versions are tested where the torch extra is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["*_torch.py"]
