"""The paper's tables with this machine's numbers beside the published ones: what eval_all.py does.

published.py   the published numbers (segearth/data/published.csv), and what is known about them
table_rows.py  the rows of the paper's tables: methods, as changes to the configs
columns.py     the columns: the data sets, and one's own by their configs
sweep.py       evaluates methods on sets one after the other; each pair has a folder with a results.json
reading.py     reads such a folder; damaged rows become failures
comparison.py  the numbers beside each other, made from those records alone
report.py      report.html, with pictures; its look is in segearth/data/report.html.jinja and report.css
tables.py      results.xlsx, .csv, .json and .md
"""
