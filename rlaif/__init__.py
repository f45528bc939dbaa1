"""Learning from AI feedback: a judge's probability z, carried from annotation to training.

prompts -> candidate pairs -> judgments z -> preference dataset -> reward model -> policy -> report
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
