"""Questions beyond one best selection: the front, the k best, the least cost, what an answer means, solving again.

They call the front door for every single solve, so all that it checks holds for them too. No solver may import this
room.
"""
