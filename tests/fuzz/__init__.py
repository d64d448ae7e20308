"""Seeded fuzzing: mutated images, checkpoints, class lists and archives, each case in a child of its own.

    children.py      forks the children, limits and judges them
    watch.py         sees what they do
    campaign.py      many cases and their figures
    mutations.py     what happens to bytes
    images.py, checkpoints.py, class_lists.py, archives.py     one kind each

`python tests/fuzz 3000` runs so many cases and prints their figures; `python tests/fuzz images/17` runs one case in its
own process, with its traceback.
"""
