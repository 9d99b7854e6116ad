"""What touches the operating system: files that are read and written safely, and interrupts of the user.

Nothing here knows of problems or solvers; `mckp_quant.common.files` uses the same code for every other file.
"""
