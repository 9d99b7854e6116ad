"""Pictures of results, drawn by matplotlib, which is imported only when one is drawn: the extra ``plot``.

Each takes matplotlib axes as ``ax=``, or makes a figure of its own, and gives the figure back.
"""

from .agreement_plot import draw_agreement
from .front_plot import draw_front
from .policy_plot import draw_policy
from .search_plot import draw_search
from .sensitivities_plot import draw_sensitivities
from .stability_plot import draw_stability

__all__ = ["draw_agreement", "draw_front", "draw_policy", "draw_search", "draw_sensitivities", "draw_stability"]
