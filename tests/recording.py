"""Operators as they are dispatched, to be looked at or to be done again."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READ_BACK = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique"}


class Recorder(TorchDispatchMode):
    """Keeps the operators that are dispatched, with what they got and gave."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result

    @property
    def names(self):
        """Of the operators."""
        return {function._opname for function, *_ in self.calls}

    @torch.no_grad()
    def replay(self):
        """Do it all again in the same memory, as a CUDA graph does: Python has no part in it."""
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)
