"""Writing a file so that it is whole or absent."""

import os


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file in place of an earlier one; a reader sees the whole of one or the other, after a crash too.

    Args:
        path: Where to; its folder exists. Any path or URI that tf.io.gfile knows.
        content: Text is written as UTF-8.

    Raises:
        OSError: It cannot be written. The earlier file is as it was.
        tf.errors.OpError: The same, of an object store.
    """
    path = os.fspath(path)
    data = content.encode() if isinstance(content, str) else content
    partial = path + ".part"
    if "://" in path:
        import tensorflow as tf  # imported only here, because the import is slow

        with tf.io.gfile.GFile(partial, "wb") as file:
            file.write(data)
        tf.io.gfile.rename(partial, path, overwrite=True)
        return
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power failure may leave the new name on an empty file
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too, is on the disk now
    finally:
        os.close(folder)
