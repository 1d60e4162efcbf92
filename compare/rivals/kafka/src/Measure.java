import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLongArray;

/** What a driver is asked to do and what it measures: the same as rivals/job.py. */
final class Job {
    final Map<String, String> words = new HashMap<>();

    Job(String[] arguments) {
        for (String word : arguments) {
            int equal = word.indexOf('=');
            words.put(word.substring(0, equal), word.substring(equal + 1));
        }
    }

    String text(String key, String otherwise) { return words.getOrDefault(key, otherwise); }

    long number(String key, long otherwise) {
        return Long.parseLong(words.getOrDefault(key, Long.toString(otherwise)));
    }

    double seconds() { return Double.parseDouble(words.getOrDefault("seconds", "1")); }

    /** The payloads, made beforehand: taken in turn. */
    byte[][] pool() {
        int min = (int) number("min", 100), max = (int) number("max", 100);
        Random source = new Random(1768);
        byte[][] made = new byte[Math.max(64, Math.min(16_000, (16 << 20) / max))][];
        for (int at = 0; at < made.length; at++) {
            made[at] = new byte[min + source.nextInt(max - min + 1)];
            source.nextBytes(made[at]);
        }
        return made;
    }
}

/** Latencies in buckets of 3 %; any thread may add. */
final class Histogram {
    private static final int SUB_BITS = 5;
    private static final String[] NAMES = {"p50", "p99", "p99.9", "p99.99", "max"};
    private static final double[] SHARES = {0.5, 0.99, 0.999, 0.9999, 1.0};
    private final AtomicLongArray counts = new AtomicLongArray(64 << SUB_BITS);

    void add(long ns) {
        int shift = Math.max(0, 63 - Long.numberOfLeadingZeros(ns | 1) - SUB_BITS);
        counts.incrementAndGet((shift << SUB_BITS) + (int) (ns >> shift));
    }

    private static long upperEnd(int index) {
        int shift = Math.max(0, (index >> SUB_BITS) - 1);
        return shift == 0 ? index : ((long) (index - (shift << SUB_BITS) + 1) << shift) - 1;
    }

    String json() {
        long total = 0, seen = 0;
        for (int at = 0; at < counts.length(); at++) total += counts.get(at);
        if (total == 0) return "{}";
        StringBuilder text = new StringBuilder("{\"samples\":" + total);
        int next = 0;
        for (int at = 0; at < counts.length(); at++) {
            seen += counts.get(at);
            for (; next < NAMES.length && seen >= SHARES[next] * total; next++)
                text.append(",\"").append(NAMES[next]).append("\":").append(upperEnd(at));
        }
        return text.append("}").toString();
    }
}

/** Memory and CPU of this process. */
final class Usage {
    static double cpuSeconds() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                   .getProcessCpuTime()
            / 1e9;
    }

    static long peakRss() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status")))
            if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
        return 0;
    }

    /** Tells driver.py to look at the broker's CPU now. */
    static double mark() {
        System.out.println("cpu");
        System.out.flush();
        return cpuSeconds();
    }
}
