"""What several tests of models share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Models this small only wait for each other on more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
