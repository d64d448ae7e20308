"""The paper's tables with this machine's numbers beside the published ones: what eval_all.py does.

published.py   the published numbers (segearth/data/published.csv), and what is known about them
methods.py     the rows of the paper's tables, as changes to the configs
sweep.py       evaluates sets and methods one after the other; each has a folder and a results.json
reading.py     reads such a folder; damaged rows become failures
comparison.py  the tables, made from those results.json alone
workbook.py    results.xlsx
report.py      report.html, with pictures
tables.py      writes them all, and results.csv, .json and .md
"""
