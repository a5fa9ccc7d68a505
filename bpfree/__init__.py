"""bpfree: does training without backpropagation, or without a tuned learning rate, really save energy?

`with bpfree.measure() as m:` puts the meters of its runs around any block of Python.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "measure"]

if TYPE_CHECKING:
    from bpfree.measuring import measure
else:

    def __getattr__(name: str) -> Any:
        """`measure`, imported when it is first asked for: what needs no meters loads none."""
        if name == "measure":
            from bpfree.measuring import measure

            return measure
        raise AttributeError(f"module 'bpfree' has no attribute '{name}'")
