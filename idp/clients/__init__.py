"""Relying parties: their registered metadata (RFC 7591), their secrets, and how they prove who they are.

Owns: `clients`. Does not own: removing one, which ends things and therefore stands in `logout`.
"""
