"""The two-level MMD and its targets in PyTorch by hand: run `python` or `pytest` on this file."""

import torch

from papers.distributional_sm.method_torch import (
    block_mmd2,
    imq,
    rbf,
    rq_kernel,
    targets_of,
    two_level_mmd2,
)


def line(*rows):
    """Samples of measures on the real line, [m, n, 1]."""
    return torch.tensor(rows, dtype=torch.float32)[..., None]


X, Y = line([0, 1], [3, 4]), line([0, 1], [10, 11])


def close(value, expected):
    expected = torch.as_tensor(expected, dtype=value.dtype)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_two_level_mmd():
    close(two_level_mmd2(X, Y), 0.158038999)
    close(two_level_mmd2(X, Y, bandwidth=1.0), 0.306566110)
    close(two_level_mmd2(X, Y, rbf, rbf), 0.317224107)
    close(block_mmd2(X, Y)[0, 0], 0.0)
    close(rq_kernel(torch.tensor(0.0)), 5.0)
    close(imq(torch.tensor(3.0)), 0.5)


def test_gradient():
    torch.manual_seed(0)
    x, y = (torch.randn(3, 6, 2, dtype=torch.float64) + i for i in (0, 2))
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: two_level_mmd2(x, y, bandwidth=0.7), (x,))


def test_targets():
    obs = torch.arange(4.0)[:, None]
    boot = torch.full((1, 5, 1), 9.0)
    never = torch.zeros(4, dtype=torch.bool)
    uniform = torch.tensor([[0.9, 0.4, 0.2, 0.1, 0.01]])  # gamma = 1/2: s_0, s_1, s_2, then s_n
    close(targets_of(uniform, obs, never, boot, 0.5)[0, :, 0], [0, 1, 2, 9, 9])
    last = torch.tensor([False, True, False, False])
    close(targets_of(uniform, obs, last, boot, 0.5)[0, :, 0], [0, 1, 1, 1, 1])


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
