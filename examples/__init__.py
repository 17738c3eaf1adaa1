"""Relying parties written as their users would write them, and the one file that is worth copying: receiver.py."""
