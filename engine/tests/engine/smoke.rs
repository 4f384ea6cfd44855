use annals::*;

fn batch(n: usize) -> Vec<NewEvent> {
    (0..n).map(|i| NewEvent::new("Tick", vec![i as u8; 100])).collect()
}

#[test]
fn basic() {
    let dir = tempfile::tempdir().unwrap();
    for pread in [false, true] {
        let d = dir.path().join(format!("s{pread}"));
        let options = Options::new().segment_bytes(64 << 10).pread(pread);
        {
            let store = EventStore::open(&d, &options).unwrap();
            assert!(store.recovery_report().created);
            for i in 0..300u64 {
                let done = store.append_batch(format!("s-{}", i % 7), ExpectedVersion::Any, batch(3)).unwrap();
                assert_eq!(done.last.get(), (i + 1) * 3);
            }
            assert_eq!(store.head().get(), 900);
            let ro = EventStore::open_read_only(&d).unwrap();
            assert_eq!(ro.head().get(), 900);
            store.append("x", ExpectedVersion::NoStream, NewEvent::new("A", "hi")).unwrap();
            assert_eq!(ro.head().get(), 901);
            assert_eq!(ro.stream_version("x").unwrap().get(), 1);
            for i in 0..300u64 {
                store.append_batch(format!("s-{}", i % 7), ExpectedVersion::Any, batch(3)).unwrap();
            }
            assert_eq!(ro.head().get(), 1801);
            assert_eq!(ro.read_all(Position::START).count(), 1801);
            store.append("big", ExpectedVersion::NoStream, NewEvent::new("A", vec![7; 300_000])).unwrap();
            store.append("big", ExpectedVersion::Any, NewEvent::new("A", vec![8; 300_000])).unwrap();
            store.append("x", ExpectedVersion::Any, NewEvent::new("A", "hi")).unwrap();
        }
        let store = EventStore::open(&d, &options).unwrap();
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
        assert_eq!(store.head().get(), 1804);
        let mut reader = store.read_all(Position::START);
        let mut n = 0;
        while let Some(e) = reader.next_event().unwrap() {
            n += 1;
            assert_eq!(e.position.get(), n);
        }
        assert_eq!(n, 1804);
        let back: Vec<u64> = store.read_all(Position::END).backward().map(|e| e.unwrap().position().get()).collect();
        assert_eq!(back, (1..=1804).rev().collect::<Vec<_>>());
        for s in 0..7 {
            let v: Vec<u64> = store
                .read_stream(format!("s-{s}"), StreamVersion::new(5))
                .unwrap()
                .map(|e| e.unwrap().version().get())
                .collect();
            let top = store.stream_version(format!("s-{s}")).unwrap().get();
            assert_eq!(v, (6..=top).collect::<Vec<_>>());
            let v: Vec<u64> = store
                .read_stream(format!("s-{s}"), StreamVersion::new(200))
                .unwrap()
                .backward()
                .map(|e| e.unwrap().version().get())
                .collect();
            assert_eq!(v, (1..200).rev().collect::<Vec<_>>());
        }
        let report = inspect::verify(&d, |_, _| ()).unwrap();
        assert!(report.is_clean(), "{report:?}");
        println!("{:?}", store.stats());
    }
}

#[test]
fn threads() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &Options::new()).unwrap();
    std::thread::scope(|s| {
        for t in 0..8 {
            let store = store.clone();
            s.spawn(move || {
                for i in 0..200 {
                    store
                        .append(
                            format!("t-{t}"),
                            ExpectedVersion::Exact(StreamVersion::new(i)),
                            NewEvent::new("T", "x"),
                        )
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(store.head().get(), 1600);
    let tickets: Vec<_> =
        (0..100).map(|_| store.batch().event("q", NewEvent::new("Q", "")).submit().unwrap()).collect();
    for t in tickets {
        t.wait().unwrap();
    }
    assert_eq!(store.head().get(), 1700);
}
