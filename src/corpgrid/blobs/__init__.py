"""Where bytes are kept by digest: the ``Blobs`` port in a folder and in memory.

Whoever puts a blob, or is told that it is here, has the grace time of ``collect`` to name it in a row of the store.
"""
