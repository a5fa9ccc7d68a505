"""Autograd switched off around a function."""

import pytest
import torch

from bpfree.gradients import without_gradients


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_off_within_and_as_it_was_behind(enabled):
    @without_gradients
    def function(factor, *, fails=False):
        if fails:
            raise ValueError("within")
        return factor * weight

    weight = torch.ones(2, requires_grad=True)
    with torch.set_grad_enabled(enabled):
        assert not function(3).requires_grad
        assert torch.is_grad_enabled() == enabled
        with pytest.raises(ValueError, match="within"):
            function(3, fails=True)
        assert torch.is_grad_enabled() == enabled
