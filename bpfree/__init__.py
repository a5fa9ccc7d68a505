"""bpfree: does training without backpropagation, or without a tuned learning rate, really save energy?"""

__version__ = "0.1.0"
