"""A page in the browser to draw, restore, look inside and compare; `page.py` assembles it, a module for each tab.

Nothing is computed here that the rest of the project does not compute: the page iterates over samplers, which yield
after every step, and shows what they yield. So work is cancelled by leaving the loop.

Nothing leaves the machine: no telemetry, no fonts or scripts from elsewhere. What is uploaded stays in memory.
"""

import os
import warnings

# Before Gradio is imported, which reads them.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

warnings.filterwarnings("ignore", category=DeprecationWarning, module="gradio")  # its use of pandas
