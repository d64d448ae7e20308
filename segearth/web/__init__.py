"""The page in the browser, and the REST interface below it: `segearth web`.

    app.py          routes and request handlers; requests.py checks requests, responses.py makes responses
    security.py     hosts, origins, tokens, sessions and headers
    uploads.py      uploaded files; rasters.py opens untrusted images, images.py describes them
    preview.py      tiles of images, from the file or a smaller copy
    state.py        images, maps and the queue of each session
    worker.py       the process that computes maps; client.py is the server's side of it
    maps.py         tiles and scores of maps; statistics.py histograms; downloads.py result files
    serve.py        starts and stops the server and the worker

Only worker.py imports torch, so the server process stays small.
"""
