"""Java programs: the command lines of classes, with what Java 17 asks for."""

import re
import subprocess

from pipeline.engines import EngineError

VERSION = 17
# Internals of Java that Flink, Spark and Beam 2.62 reach into.
_OPENED = (
    *("java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.net", "java.nio", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action"),
    "sun.util.calendar",
)


def command(main: str, class_path: list[str], heap_mb: int, options: list[str], arguments: list[str]) -> list[str]:
    """Returns the command line that runs a class.

    Args:
        main: The name of the class.
        class_path: Jars, and folders of jars as "DIR/*"; the first one with a class wins.
        heap_mb: The largest heap in MB.
        options: Further options of Java.
        arguments: The arguments of the class.
    """
    opened = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]
    # Two cores and many processes: the serial collector needs the fewest threads and the least memory.
    memory = [f"-Xmx{heap_mb}m", "-XX:+UseSerialGC"]
    return ["java", *memory, *opened, *options, "-cp", ":".join(class_path), main, *arguments]


def require() -> None:
    """Refuses a machine without Java 17.

    Raises:
        EngineError: There is no Java, or it has another version.
    """
    advice = f"Install Java {VERSION} (`apt-get install openjdk-{VERSION}-jdk-headless`) and put it first in PATH."
    try:
        told = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
    except FileNotFoundError:
        raise EngineError(f"No java found. {advice}") from None
    found = re.search(r'version "(\d+)', told)
    if not found or int(found[1]) != VERSION:
        raise EngineError(f"java: found version {found[1] if found else told.strip()}; expected {VERSION}. {advice}")
