"""What tests of several folders share: fakes, made-up data, servers, programs of their own."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
