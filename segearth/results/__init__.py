"""Results of evaluations, from one schema.

record.py   the record of a run: dataclasses, one schema with a version
folder.py   a folder of runs: results.json, the truth, and results.xlsx, made from it for people
tables.py   tables as workbook, csv, Markdown and text: one styling, one formatting of cells
"""
