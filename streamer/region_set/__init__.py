"""Region sets: regions for neurofeedback in the run's own space, made, shown, and approved before they are used.

May import everything up to ``compose``; nothing below it imports this package. What ``run`` needs to know of a set (is
it approved, and unchanged since) is in ``formats/region_files.py``.
"""
