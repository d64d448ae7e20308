"""The page in the browser, and the REST interface below it: `segearth web`.

    app.py          which address is answered by whom
    security.py     hosts, origins, tokens and headers; sessions.py who may see what
    uploads.py      files that come in; rasters.py which of them are opened
    images.py       images, from the file to the tiles; preview.py makes small copies
    jobs.py         the queue; worker.py the process that computes, and client.py the server's end of it
    maps.py         what is known of a map while it is made, and after; downloads.py its files
    serve.py        begins and ends all of that

Nothing here but worker.py imports torch: the server stays small beside the process that computes.
"""
