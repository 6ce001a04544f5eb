"""A block with a seed of its own: the same numbers inside, the reader's numbers before and after."""

import pytest
import torch

from greenlab.core.model.random_state import local_seed


def test_inside_numbers_follow_the_seed_and_outside_they_go_on():
    torch.manual_seed(1)
    undisturbed = torch.rand(4)
    torch.manual_seed(1)
    first = torch.rand(2)
    with local_seed(5):
        inside = torch.rand(3)
    assert torch.equal(torch.cat([first, torch.rand(2)]), undisturbed)
    assert torch.equal(inside, torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_an_error_inside_restores_the_state_too():
    state = torch.get_rng_state()

    def interrupted():
        with local_seed(5):
            torch.rand(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (2**63, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_a_seed_is_a_whole_number_that_torch_takes(seed, error):
    with pytest.raises(error, match="seed="), local_seed(seed):
        pass
