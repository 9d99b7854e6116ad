"""The commands about size against loss: the front of a table, one answer explained, and the smallest policy measured.

Those on a table need no torch.
"""
