"""Pictures of results, drawn by matplotlib, which is imported only when one is drawn: the extra ``plot``.

Each takes matplotlib axes as ``ax=``, or makes a figure of its own, and gives the figure back.
"""
