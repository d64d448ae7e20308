"""Seeded fuzzing: mutated images, checkpoints, class lists and archives, each case in a child of its own.

    children.py      forks the children, limits and watches them
    mutations.py     what happens to bytes
    images.py, checkpoints.py, class_lists.py, archives.py     one kind each

`python tests/fuzz 3000` runs so many cases and prints their figures; `python tests/fuzz images/17` runs one case in this
process, with its traceback.
"""
