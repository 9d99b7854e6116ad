"""How results look to people: text that cannot be mistaken for markup, drawn axes, tables, and faces made of them.

Nothing here knows of problems or networks; `mckp_quant.common.display` is the same for every other room.
"""
