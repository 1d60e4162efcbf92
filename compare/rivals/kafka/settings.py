"""What is not in the properties files: the memory of broker and client, and what a topic is made with."""

# A modest heap: Kafka's documentation leaves the memory to the page cache. G1 is its scripts' collector.
BROKER_JVM = ["-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExplicitGCInvokesConcurrent"]
CLIENT_JVM = ["-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
QUIET = ["-Dlog4j2.level=ERROR", "-Dlog4j2.StatusLogger.level=OFF"]
# Of a topic: what "every 200 ms" and "each" are in Kafka.
FLUSH = {"none": {}, "interval": {"flush.ms": "200"}, "each": {"flush.messages": "1"}}
# Untimed sending before a timed run, for the JVMs to compile their loops; at most as long as the run itself.
WARM_SECONDS = 5.0
