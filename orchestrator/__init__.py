"""Fine-tuning orchestration for cross-domain knowledge transfer."""

__version__ = "0.1.0"
