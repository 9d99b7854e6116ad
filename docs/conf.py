"""How `make docs` builds these pages. docs/decisions.md says why with Sphinx."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_site"))

from mckp_quant import __version__

project = "mckp-quant"
author = "the mckp-quant authors"
release = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_copybutton",
    "mathml",
    "api_reference",
    "command_reference",
]
exclude_patterns = ["examples"]
suppress_warnings = ["config.cache"]

# Pages are Markdown; docstrings say `name`, which links where there is such a name and is code where there is none.
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
default_role = "py:obj"
html_math_renderer = "mathml"

# Notebooks are stored without outputs, and run here; what libraries say on stderr is no part of a page.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell: a busy machine is no error
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
add_module_names = False
autosummary_generate = False  # numpydoc brings it along, and no page asks for it
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "mckp-quant"
html_static_path = ["_site/static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "start": []}
html_theme_options = {
    "logo": {"text": "mckp-quant"},
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}
