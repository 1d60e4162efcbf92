import java.io.FileInputStream;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/**
 * Kafka's Java client. Topics of the workload are topics of one partition. Only what the broker acknowledged is
 * counted.
 */
public final class Driver {
    private final Job job;
    private final byte[][] pool;
    private final int topics;
    private final LongAdder entries = new LongAdder();
    private final LongAdder payload = new LongAdder();
    private final Histogram histogram = new Histogram();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();

    private Driver(Job job) {
        this.job = job;
        this.pool = job.pool();
        this.topics = (int) job.number("topics", 1);
    }

    private Properties properties(String name) throws IOException {
        Properties found = new Properties();
        try (FileInputStream file = new FileInputStream(job.text("settings", ".") + "/" + name)) {
            found.load(file);
        }
        found.put("bootstrap.servers", "127.0.0.1:" + job.text("port", "9092"));
        return found;
    }

    private KafkaProducer<byte[], byte[]> producer(boolean awaited) throws IOException {
        Properties found = properties("producer.properties");
        if (awaited) found.put("linger.ms", "0");
        return new KafkaProducer<>(found);
    }

    private void makeTopics() throws Exception {
        Map<String, String> settings = new HashMap<>();
        String[] flush = job.text("flush", "").split("=");
        if (flush.length == 2) settings.put(flush[0], flush[1]);
        long retention = job.number("retention", 0);
        if (retention > 0) {
            settings.put("retention.bytes", Long.toString(retention / topics));
            settings.put(
                "segment.bytes", Long.toString(Math.max(16 << 20, Math.min(128 << 20, retention / topics / 2))));
        }
        try (Admin admin = Admin.create(properties("producer.properties"))) {
            var present = admin.listTopics().names().get();
            List<NewTopic> missing = new ArrayList<>();
            for (int topic = 0; topic < topics; topic++)
                if (!present.contains("t" + topic))
                    missing.add(new NewTopic("t" + topic, 1, (short) 1).configs(settings));
            admin.createTopics(missing).all().get();
        }
    }

    private Future<RecordMetadata> send(KafkaProducer<byte[], byte[]> producer, int topic, byte[] data, long began) {
        return producer.send(new ProducerRecord<>("t" + topic, 0, null, data), (metadata, error) -> {
            if (error != null) {
                failure.compareAndSet(null, error);
                return;
            }
            if (began != 0) histogram.add(System.nanoTime() - began);
            entries.increment();
            payload.add(data.length);
        });
    }

    /**
     * One thread of the producer. `batch` > 1: so many sends, then the last is awaited; durability "each": each is
     * awaited.
     */
    private void work(KafkaProducer<byte[], byte[]> producer, int topic, long share, AtomicBoolean stop)
        throws Exception {
        boolean each = job.text("durability", "none").equals("each");
        int batch = (int) job.number("batch", 1), stride = (int) job.number("stride", 1);
        int at = (int) ((long) topic * 1009 % pool.length);
        for (long sent = 0; !stop.get() && (share == 0 || sent < share);) {
            Future<RecordMetadata> last = null;
            for (int one = 0; one < batch; one++, sent++) {
                last = send(producer, topic, pool[at], sent % stride == 0 ? System.nanoTime() : 0);
                at = at + 1 == pool.length ? 0 : at + 1;
            }
            if (each || batch > 1) last.get();
            if (failure.get() != null) throw new IllegalStateException(failure.get());
        }
    }

    /** Before anything is timed: a JVM compiles what it runs often, in client and broker. */
    private void warmUp(KafkaProducer<byte[], byte[]> producer) throws Exception {
        long until =
            System.nanoTime() + (long) (Math.min(job.seconds(), Double.parseDouble(job.text("warm", "0"))) * 1e9);
        try (Admin admin = Admin.create(properties("producer.properties"))) {
            admin.createTopics(List.of(new NewTopic("warm", 1, (short) 1))).all().get();
            for (int at = 0; System.nanoTime() < until; at = (at + 1) % pool.length)
                producer.send(new ProducerRecord<>("warm", pool[at]));
            producer.flush();
            admin.deleteTopics(List.of("warm")).all().get();
        }
    }

    private void append() throws Exception {
        makeTopics();
        int threads = (int) job.number("threads", 1);
        long share = -Math.floorDiv(-job.number("entries", 0), threads), bytesMax = job.number("max_bytes", 0);
        AtomicBoolean stop = new AtomicBoolean();
        CountDownLatch running = new CountDownLatch(threads);
        List<String> series = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(job.text("durability", "none").equals("each"))) {
            if (share == 0) warmUp(producer);
            double cpu = Usage.mark();
            long began = System.nanoTime();
            for (int number = 0; number < threads; number++) {
                int topic = number % topics;
                new Thread(() -> {
                    try {
                        work(producer, topic, share, stop);
                    } catch (Throwable error) {
                        failure.compareAndSet(null, error);
                        stop.set(true);
                    }
                    running.countDown();
                }).start();
            }
            while (running.getCount() > 0) {
                Thread.sleep(10);
                double took = (System.nanoTime() - began) / 1e9;
                if (took >= (series.size() + 1) * 0.5)
                    series.add(String.format(Locale.ROOT, "[%.3f,%d]", took, entries.sum()));
                boolean full = bytesMax > 0 && payload.sum() >= bytesMax;
                if (full || (share == 0 && took >= job.seconds())) stop.set(true);
            }
            producer.flush();  // what is on its way counts, and so does its time
            double took = (System.nanoTime() - began) / 1e9;
            if (failure.get() != null) throw new IllegalStateException(failure.get());
            report(entries.sum(), payload.sum(), took, Usage.mark() - cpu,
                ",\"series\":[" + String.join(",", series) + "]");
        }
    }

    private void topicsInTurn() throws Exception {
        makeTopics();
        try (KafkaProducer<byte[], byte[]> producer = producer(false)) {
            List<Double> turns = new ArrayList<>();
            double cpu = 0;
            long began = 0;
            for (int turn = 0; turn < 3 || (System.nanoTime() - began) / 1e9 < job.seconds(); turn++) {
                if (turn == 1) {
                    cpu = Usage.mark();
                    began = System.nanoTime();
                }
                long started = System.nanoTime();
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (int topic = 0; topic < topics; topic++)
                    sent.add(send(producer, topic, pool[(turn + topic) % pool.length], 0));
                producer.flush();
                for (Future<RecordMetadata> one : sent) one.get();
                if (turn > 0) turns.add((System.nanoTime() - started) / 1e9);
            }
            double took = (System.nanoTime() - began) / 1e9;
            turns.sort(null);
            long count = (long) turns.size() * topics;
            report(count, count * job.number("max", 100), took, Usage.mark() - cpu,
                String.format(Locale.ROOT, ",\"turns\":%d,\"append_seconds_median\":0,\"sync_seconds_median\":%.9f",
                    turns.size(), turns.get(turns.size() / 2)));
        }
    }

    private void fill(long count) throws Exception {
        makeTopics();
        try (KafkaProducer<byte[], byte[]> producer = producer(false)) {
            for (long at = 0; at < count; at++) send(producer, 0, pool[(int) (at % pool.length)], 0);
            producer.flush();
        }
        if (failure.get() != null) throw new IllegalStateException(failure.get());
    }

    /** With a group only where positions are kept: its coordinator takes seconds to start. */
    private KafkaConsumer<byte[], byte[]> consumer(int recordsMax, boolean group) throws IOException {
        Properties found = properties("consumer.properties");
        if (group) found.put("group.id", "compare");
        if (recordsMax > 0) found.put("max.poll.records", Integer.toString(recordsMax));
        return new KafkaConsumer<>(found);
    }

    private void next() throws Exception {
        long count = job.number("entries", 1), every = job.text("mode", "strict").equals("strict") ? 1 : 1000,
             taken = 0, size = 0;
        fill(count);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(1, true)) {
            consumer.assign(List.of(new TopicPartition("t0", 0)));
            consumer.seekToBeginning(consumer.assignment());
            double cpu = Usage.mark();
            long began = System.nanoTime(), now = began;
            while (taken < count && (now - began) / 1e9 < job.seconds()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(10))) {
                    size += record.value().length;
                    if (++taken % every == 0) consumer.commitSync();
                }
                long after = System.nanoTime();
                histogram.add(after - now);
                now = after;
            }
            report(taken, size, (now - began) / 1e9, Usage.mark() - cpu, "");
        }
    }

    private long[] readThrough(KafkaConsumer<byte[], byte[]> consumer, long count) {
        consumer.seekToBeginning(consumer.assignment());
        long taken = 0, size = 0;
        while (taken < count) {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofSeconds(10));
            if (records.isEmpty()) throw new IllegalStateException(taken + " of " + count + " records were given");
            for (ConsumerRecord<byte[], byte[]> record : records) size += record.value().length;
            taken += records.count();
        }
        return new long[] {taken, size};
    }

    private void read() throws Exception {
        long count = job.number("entries", 1);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(0, false)) {
            consumer.assign(List.of(new TopicPartition("t0", 0)));
            consumer.beginningOffsets(consumer.assignment());  // connected before the clock runs
            if (job.number("hot", 0) > 0) readThrough(consumer, count);
            double cpu = Usage.mark();
            long began = System.nanoTime();
            long[] found = readThrough(consumer, count);
            report(found[0], found[1], (System.nanoTime() - began) / 1e9, Usage.mark() - cpu, "");
        }
    }

    private void reopen() throws Exception {
        double cpu = Usage.mark();
        long size = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(1, false)) {
            for (int topic = 0; topic < topics; topic++) {
                consumer.assign(List.of(new TopicPartition("t" + topic, 0)));
                consumer.seekToBeginning(consumer.assignment());
                var records = consumer.poll(Duration.ofSeconds(60));
                if (records.isEmpty()) throw new IllegalStateException("topic " + topic + " gives nothing");
                size += records.iterator().next().value().length;
            }
        }
        report(topics, size, 0, Usage.mark() - cpu, "");
    }

    private void report(long count, long size, double took, double cpu, String more) throws IOException {
        System.out.printf(Locale.ROOT,
            "{\"entries\":%d,\"bytes\":%d,\"seconds\":%.6f,\"cpu_seconds\":%.4f,\"latency_ns\":%s,\"peak_rss\":%d,"
                + "\"baseline_rss\":0%s}%n",
            count, size, took, cpu, histogram.json(), Usage.peakRss(), more);
        System.out.flush();
    }

    public static void main(String[] arguments) {
        try {
            Driver driver = new Driver(new Job(arguments));
            switch (driver.job.text("kind", "")) {
                case "append" -> driver.append();
                case "topics" -> driver.topicsInTurn();
                case "next" -> driver.next();
                case "read" -> driver.read();
                case "reopen" -> driver.reopen();
                default -> throw new IllegalArgumentException("no such kind: " + Arrays.toString(arguments));
            }
            System.exit(0);
        } catch (Throwable error) {
            error.printStackTrace();
            System.exit(1);
        }
    }
}
