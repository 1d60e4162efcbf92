"""10,000 topics with 10 entries each: disk and memory stay bounded, and everything is found again."""
import json

BYTES_MAX = 200_000_000


def test_ten_thousand_topics_take_less_than_200_mb_of_disk_and_of_memory(child):
    facts = json.loads(child.run("""
        import json

        def resident(field):
            return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field))

        def on_disk():
            return sum(file.stat().st_blocks * 512 for file in os.scandir(path))

        base, facts = resident("VmRSS"), {}
        with walrus.open(path) as log:
            handles = [log.topic(f"topic-{i}") for i in range(10_000)]
            for n in range(10):
                for i, topic in enumerate(handles):
                    topic.append(b"%d of %d " % (n, i) + bytes(80))
            log.sync()
            facts["memory"] = resident("VmHWM") - base - log.stats().staging_bytes
            facts["disk"] = on_disk()
        facts["disk, closed"] = on_disk()
        with walrus.open(path) as log:
            assert len(log.topics()) == 10_000
            for i in range(10_000):
                kept = log.topic(f"topic-{i}").read_batch().tolist()
                assert kept == [b"%d of %d " % (n, i) + bytes(80) for n in range(10)], i
            facts["memory, read again"] = resident("VmHWM") - base - log.stats().staging_bytes
        print(json.dumps(facts))
    """))
    print(facts)
    assert {name: size for name, size in facts.items() if size >= BYTES_MAX} == {}
