"""The pictures of a report as SVG, drawn here: they weigh little, follow the colours of the page, and need no package.

Each is a function from what the report shows and a width in pixels to markup; a page holds one for wide screens and one
for narrow ones.
"""
