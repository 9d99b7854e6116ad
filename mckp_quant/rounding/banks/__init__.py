"""Weight banks on disk: a document that says what a folder holds, and one file of codes for every layer.

Names and numbers of a bank become plain types here; `rounding.bank` has the bank itself.
"""
