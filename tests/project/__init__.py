"""Tests of the project itself: its documents, its imports, its installer."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
