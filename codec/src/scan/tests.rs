//! The judgement over whole segments: cut, flipped, forged, and looked at through a keyhole.

use super::*;
use crate::testing::{Found, Miser, Parts, Rng, Writer, each, for_each_flip, header, rounds};
use crate::{Seal, Tracking};

/// Five batches of 2, 1, 0, 3 and 1 events. Each marker says what was synced:
/// nothing, nothing, two batches, two batches, four batches.
fn small_segment() -> Writer {
    let mut writer = Writer::new(header());
    writer.batch(&[Parts::plain(1, b"one"), Parts::plain(2, b"")]);
    writer.batch(&[Parts::plain(3, b"three, and padding")]);
    writer.sync();
    writer.batch_with(&[], |commit| commit.tracking = Some(Tracking { source: "upstream", upstream: 7 }));
    writer.batch_with(&[Parts::plain(4, b"f"), Parts::plain(5, b"fi"), Parts::plain(6, b"six")], |commit| {
        commit.key = Some("request-4");
    });
    writer.sync();
    writer.batch(&[Parts::plain(7, b"seven")]);
    writer
}

/// How far the log was known durable when each batch was written.
fn durable_offsets(writer: &Writer) -> [u64; 5] {
    [0, 0, writer.ends[2], writer.ends[2], writer.ends[4]]
}

fn bad(scan: &Scan) -> &Bad {
    match &scan.stop {
        Stop::Bad(bad) => bad,
        other => panic!("nothing bad was found: {other:?}"),
    }
}

fn check_is_prefix(found: &Found, whole: &Found, batches: usize) {
    assert_eq!(found.batches, whole.batches[..batches], "exactly the first {batches} batches");
}

/// Every source must lead to the same judgement.
fn check_through_keyholes(writer: &Writer, bytes: &[u8], seed: u64) {
    let (scan, found) = writer.scan(bytes);
    for extra in [0, 7, 100, 100_000] {
        let mut source = Miser::new(bytes, seed, extra);
        let mut sink = Found::default();
        let Ok(through) = super::scan(&mut source, writer.seed, first_tail(&writer.header), &mut sink);
        assert_eq!((&through, &sink), (&scan, &found), "seed {seed}, up to {extra} bytes more than asked");
        assert!(source.most <= bytes.len(), "no more is asked for than the file has: {}", source.most);
    }
}

#[test]
fn a_whole_segment_is_clean_and_holds_what_was_written() {
    let writer = small_segment();
    let (scan, found) = writer.scan(&writer.bytes);
    assert_eq!(scan.stop, Stop::End);
    assert_eq!(scan.verdict(writer.end()), Verdict::Clean);
    assert_eq!(scan.totals, Totals { events: 7, batches: 5, recorded_at: Some((1_001, 1_007)) });
    assert_eq!(
        scan.tail,
        Tail {
            offset: writer.end(),
            position: Position::new(7),
            chain: Some(writer.chain),
            hash: None,
            epoch: Epoch::new(1),
            durable_offset: writer.ends[4],
        }
    );
    assert_eq!(found.batches.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 1, 4, 2], "events and their marker");
}

#[test]
fn zeros_behind_the_last_batch_change_nothing() {
    let writer = small_segment();
    let whole = writer.scan(&writer.bytes);
    for zeros in [1, 7, 8, 19, 20, 21, 512, 100_000] {
        let mut bytes = writer.bytes.clone();
        bytes.resize(bytes.len() + zeros, 0);
        assert_eq!(writer.scan(&bytes), whole, "{zeros} zeros");
    }
}

#[test]
fn a_cut_at_any_byte_keeps_exactly_the_whole_batches() {
    let writer = small_segment();
    let (_, whole) = writer.scan(&writer.bytes);
    for zeros in [0, 3, 600] {
        for cut in each(writer.ends[0] as usize..writer.bytes.len()) {
            let mut bytes = writer.bytes[..cut].to_vec();
            bytes.resize(bytes.len() + zeros, 0);
            let (scan, found) = writer.scan(&bytes);

            // A batch that ends in zeros is whole when zeros stand in for them.
            let kept = writer.ends.iter().filter(|&&end| {
                let cut_off = &writer.bytes[cut.min(end as usize)..end as usize];
                cut_off.len() <= zeros && cut_off.iter().all(|&byte| byte == 0)
            });
            let batches = kept.count() - 1;
            check_is_prefix(&found, &whole, batches);
            let end = writer.ends[batches];
            assert_eq!(scan.tail.offset, end, "cut at {cut}");
            let rest_is_zero = bytes[(end as usize).min(bytes.len())..].iter().all(|&byte| byte == 0);
            let expected = if rest_is_zero { Verdict::Clean } else { Verdict::Unfinished };
            assert_eq!(scan.verdict(end), expected, "cut at {cut}, {zeros} zeros");
            let durable_offset = end + 1;
            assert_eq!(scan.verdict(durable_offset), Verdict::Damaged { durable_offset }, "cut at {cut}");
        }
    }
}

#[test]
fn any_flipped_bit_is_noticed_and_judged_by_what_later_markers_say() {
    let writer = small_segment();
    let (_, whole) = writer.scan(&writer.bytes);
    let durable = durable_offsets(&writer);
    for_each_flip(&writer.bytes, writer.ends[0] as usize..writer.bytes.len(), |bit, bytes| {
        let (scan, found) = writer.scan(bytes);
        let at = bit as u64 / 8;
        let hit = writer.ends.iter().filter(|&&end| end <= at).count() - 1;
        check_is_prefix(&found, &whole, hit);
        assert_eq!(scan.tail.offset, writer.ends[hit], "bit {bit}");

        // The hit batch's own marker, when it is not hit itself, is a later one too.
        let first = if at < writer.markers[hit] { hit } else { hit + 1 };
        let bad = bad(&scan);
        assert!((writer.ends[hit]..=at).contains(&bad.at), "bit {bit}: {bad:?}");
        assert_eq!(bad.later_commits, 5 - first as u64, "bit {bit}");
        let stated = durable[first..].iter().copied().max();
        assert_eq!(bad.later_durable, stated, "bit {bit}");
        let durable_offset = stated.unwrap_or(0);
        let is_damage = durable_offset > writer.ends[hit];
        let expected = if is_damage { Verdict::Damaged { durable_offset } } else { Verdict::Unfinished };
        assert_eq!(scan.verdict(0), expected, "bit {bit}");
        let watermark = writer.end();
        assert_eq!(scan.verdict(watermark), Verdict::Damaged { durable_offset: watermark }, "bit {bit}");

        let Some(resume) = bad.resume else {
            assert_eq!(hit, 4, "bit {bit}: only behind the last batch there is nowhere to go on");
            return;
        };
        assert_eq!(resume.offset, writer.ends[hit + 1], "bit {bit}");
        let (mut source, mut rest) = (bytes, Found::default());
        let Ok(scan) = super::scan(&mut source, writer.seed, resume, &mut rest);
        assert_eq!(rest.batches, whole.batches[hit + 1..], "bit {bit}");
        assert_eq!((scan.stop, scan.tail.chain), (Stop::End, Some(writer.chain)), "bit {bit}");
    });
}

#[test]
fn a_flipped_bit_in_the_zeros_behind_the_tail_is_never_an_event() {
    let writer = small_segment();
    let (_, whole) = writer.scan(&writer.bytes);
    let mut bytes = writer.bytes.clone();
    bytes.resize(bytes.len() + 64, 0);
    for_each_flip(&bytes, writer.bytes.len()..bytes.len(), |bit, bytes| {
        let (scan, found) = writer.scan(bytes);
        check_is_prefix(&found, &whole, 5);
        assert_eq!(scan.verdict(writer.end()), Verdict::Unfinished, "bit {bit}");
        assert_eq!(bad(&scan).data_end, bit as u64 / 8 + 1, "bit {bit}");
    });
}

#[test]
fn a_torn_tail_and_the_same_bytes_damaged_differ_by_the_durable_offset_alone() {
    // The same hole in the last batch but one: first as a crash in the middle
    // of an unsynced group leaves it, then in a group that had been synced.
    let check = |synced: bool| {
        let mut writer = Writer::new(header());
        writer.batch(&[Parts::plain(1, b"kept")]);
        writer.sync();
        writer.batch(&[Parts::plain(2, &[1; 600])]);
        if synced {
            writer.sync();
        }
        writer.batch(&[Parts::plain(3, b"later")]);
        let sector = writer.ends[1] as usize + 100;
        writer.bytes[sector..sector + 512].fill(0);
        let (scan, found) = writer.scan(&writer.bytes);
        assert_eq!(found.batches.len(), 1);
        assert_eq!(bad(&scan).later_commits, 2);
        (scan.verdict(writer.ends[1]), writer.ends[2])
    };
    assert_eq!(check(false).0, Verdict::Unfinished);
    let (verdict, durable_offset) = check(true);
    assert_eq!(verdict, Verdict::Damaged { durable_offset });
}

#[test]
fn the_last_marker_of_a_long_segment_is_evidence_too() {
    // The search once believed only positions that as many events could reach
    // as fit *behind* a marker, and so overlooked the last ones.
    let mut writer = Writer::new(header());
    for n in 1..=20 {
        writer.batch(&vec![Parts::plain(n, b""); 50]);
    }
    writer.sync();
    writer.batch(&[Parts::plain(21, b"")]);
    let mut bytes = writer.bytes.clone();
    bytes[writer.ends[0] as usize + 30] ^= 1;
    let (scan, _) = writer.scan(&bytes);
    assert_eq!(bad(&scan).later_commits, 21);
    assert_eq!(scan.verdict(0), Verdict::Damaged { durable_offset: writer.ends[20] });
}

#[test]
#[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
fn markers_are_found_across_the_borders_of_the_windows_of_the_search() {
    for shift in each(0..70) {
        let mut writer = Writer::new(header());
        writer.batch(&[Parts::plain(1, b"first")]);
        let pad = WINDOW - 300 + shift * 8;
        writer.batch(&[Parts::plain(2, &vec![0xEE; pad])]);
        writer.batch_with(&[Parts::plain(3, b"")], |commit| commit.key = Some("a marker that is not the shortest"));
        writer.batch(&[Parts::plain(4, b"")]);
        let mut bytes = writer.bytes.clone();
        bytes[writer.ends[0] as usize + 30] ^= 1;
        let (scan, _) = writer.scan(&bytes);
        assert_eq!(bad(&scan).later_commits, 4, "shift {shift}");
        check_through_keyholes(&writer, &bytes, shift as u64);
    }
}

#[test]
fn frames_of_another_segment_never_validate() {
    let writer = small_segment();
    let mut other_header = header();
    other_header.salt[0] ^= 1;
    let mut bytes = Writer::new(other_header).bytes;
    bytes.extend_from_slice(&writer.bytes[writer.ends[0] as usize..]);
    let (header, seed) = SegmentHeader::decode(&bytes).unwrap();
    let (mut source, mut found) = (&bytes[..], Found::default());
    let Ok(scan) = super::scan(&mut source, seed, first_tail(&header), &mut found);
    assert!(found.batches.is_empty());
    assert_eq!((bad(&scan).later_commits, scan.verdict(0)), (0, Verdict::Unfinished));
}

#[test]
fn earlier_batches_that_a_payload_quotes_fool_neither_the_scan_nor_the_search() {
    let mut writer = small_segment();
    let quoted = writer.bytes[writer.ends[0] as usize..].to_vec();
    writer.sync();
    writer.batch(&[Parts::plain(8, &quoted)]);
    let (scan, found) = writer.scan(&writer.bytes);
    assert_eq!((scan.stop.clone(), found.batches.len()), (Stop::End, 6));

    // The quoting event torn: the quotes behind the bad place must not look like durable batches.
    let start = writer.ends[5] as usize;
    for cut in start..writer.bytes.len() {
        let (scan, found) = writer.scan(&writer.bytes[..cut]);
        assert_eq!(found.batches.len(), 5, "cut at {cut}");
        assert_eq!(scan.verdict(writer.ends[5]), if cut == start { Verdict::Clean } else { Verdict::Unfinished });
    }
    for at in start..start + 72 {
        let mut bytes = writer.bytes.clone();
        bytes[at] ^= 0x10;
        let (scan, _) = writer.scan(&bytes);
        let bad = bad(&scan);
        assert_eq!((bad.later_commits, bad.resume), (1, None), "byte {at}: its own marker and nothing else");
    }
}

#[test]
fn a_batch_without_events_that_a_payload_quotes_is_no_place_to_go_on() {
    // Such a batch repeats the position of the tail, so the position alone does not give it away.
    let mut writer = Writer::new(header());
    writer.batch(&[Parts::plain(1, b"")]);
    writer.sync();
    writer.batch_with(&[], |commit| commit.tracking = Some(Tracking { source: "upstream", upstream: 7 }));
    let quoted = writer.bytes[writer.ends[1] as usize..].to_vec();
    writer.batch(&[Parts::plain(2, &quoted)]);
    let mut bytes = writer.bytes.clone();
    bytes[writer.ends[2] as usize + 30] ^= 1;
    let (scan, _) = writer.scan(&bytes);
    assert_eq!((bad(&scan).later_commits, bad(&scan).resume), (1, None));
}

#[test]
fn a_batch_that_quotes_lost_batches_is_where_reading_goes_on_and_not_the_quotes() {
    let mut writer = small_segment();
    let lost = (writer.ends[1] as usize, writer.ends[5] as usize);
    let quoted = writer.bytes[lost.0..lost.1].to_vec();
    writer.batch(&[Parts::plain(8, b"before the quotes"), Parts::plain(9, &quoted)]);
    let mut bytes = writer.bytes.clone();
    bytes[lost.0..lost.1].fill(0xFF);
    let (scan, found) = writer.scan(&bytes);
    assert_eq!(found.batches.len(), 1);
    assert_eq!(bad(&scan).resume.map(|tail| tail.offset), Some(writer.ends[5]));
}

#[test]
fn reading_goes_on_only_at_a_batch_that_is_whole() {
    let writer = small_segment();
    let mut bytes = writer.bytes.clone();
    bytes[writer.ends[1] as usize + 25] ^= 1; // an event of the second batch
    bytes[writer.ends[3] as usize + 25] ^= 1; // and one of the fourth
    let (scan, _) = writer.scan(&bytes);
    let resume = bad(&scan).resume.unwrap();
    assert_eq!(resume.offset, writer.ends[2]);
    let mut source = &bytes[..];
    let Ok(scan) = super::scan(&mut source, writer.seed, resume, &mut ());
    assert_eq!(scan.tail.offset, writer.ends[3], "the batch without events");
    let resume = bad(&scan).resume.unwrap();
    assert_eq!((resume.offset, resume.position), (writer.ends[4], Position::new(6)));
    assert_eq!(resume.chain, None);
}

#[test]
fn events_without_a_marker_are_taken_back() {
    let writer = small_segment();
    let cut = writer.markers[4] as usize;
    let (scan, found) = writer.scan(&writer.bytes[..cut]);
    assert_eq!(bad(&scan).fault, Fault::NoCommit);
    assert!(found.has_nothing_pending(), "a sink is told that the last event does not exist");
}

#[test]
fn a_later_marker_is_evidence_only_if_it_could_have_been_written_there() {
    let check = |adjust: fn(&mut Commit<'_>)| {
        let mut writer = Writer::new(SegmentHeader { epoch: Epoch::new(2), ..header() });
        writer.batch(&[Parts::plain(1, b"")]);
        writer.sync();
        writer.batch(&[Parts::plain(2, b"")]);
        let torn = writer.end() as usize;
        writer.batch(&[Parts::plain(3, b"")]);
        writer.batch_with(&[Parts::plain(4, b"")], adjust);
        writer.bytes[torn + 30] ^= 1;
        let (scan, _) = writer.scan(&writer.bytes);
        (bad(&scan).later_commits, scan.verdict(0))
    };
    assert_eq!(check(|_| {}), (2, Verdict::Unfinished));
    // Of a writer before the last batch's: left over from before a recovery.
    assert_eq!(check(|commit| commit.epoch = Epoch::new(1)), (1, Verdict::Unfinished));
    // Durable up to behind its own batch's start; less than a batch before said.
    assert_eq!(check(|commit| commit.durable_offset = 1 << 20), (1, Verdict::Unfinished));
    assert_eq!(check(|commit| commit.durable_offset = 8), (1, Verdict::Unfinished));
    // A batch that begins before the file; more events than fit.
    assert_eq!(check(|commit| commit.batch_bytes = 1 << 20), (1, Verdict::Unfinished));
    let far = |commit: &mut Commit<'_>| {
        commit.first = commit.first.plus(1 << 20);
        commit.last = commit.last.plus(1 << 20);
        commit.durable_offset = 4096 + 5 * 64;
    };
    assert_eq!(check(far), (1, Verdict::Unfinished));
}

#[test]
fn frames_that_may_be_skipped_are_stepped_over_and_never_cut_off() {
    let mut writer = Writer::new(header());
    writer.raw_frame(0x81, b"before everything");
    writer.batch(&[Parts::plain(1, b"")]);
    writer.raw_frame(0xFF, b"between");
    writer.batch(&[Parts::plain(2, b"")]);
    writer.raw_frame(0x80, b"");
    let (scan, found) = writer.scan(&writer.bytes);
    assert_eq!((scan.stop.clone(), found.batches.len()), (Stop::End, 2));
    assert_eq!(scan.tail.offset, writer.end());
    // The writer synced it with the rest: that is not a log shorter than its watermark.
    assert_eq!(scan.verdict(writer.end()), Verdict::Clean);

    // In a batch, they count as its bytes.
    let start = writer.end();
    let event = Parts::plain(3, b"");
    let mut chain = crate::Chain::default();
    chain.push(event.event(Position::new(3)).encode(&mut writer.bytes, writer.seed, writer.epoch));
    writer.raw_frame(0x90, b"inside");
    let mut commit = Commit::new(writer.epoch, Position::new(3), 1);
    commit.batch_bytes = (writer.end() - start) as u32;
    commit.encode(&mut writer.bytes, writer.seed, writer.chain, &mut chain);
    assert_eq!(writer.scan(&writer.bytes).0.totals.events, 3);
    let mut damaged = writer.bytes.clone();
    damaged[writer.ends[1] as usize - 60] ^= 1;
    assert_eq!(bad(&writer.scan(&damaged).0).resume.map(|tail| tail.offset), Some(writer.ends[1] + 32));
}

#[test]
fn frames_of_an_unknown_kind_stop_the_scan() {
    let mut writer = Writer::new(header());
    writer.raw_frame(0x04, b"from the future");
    let (scan, _) = writer.scan(&writer.bytes);
    assert_eq!(bad(&scan).fault, Fault::Frame(FrameFault::UnknownKind(4)));
}

#[test]
fn a_batch_whose_marker_does_not_match_it_does_not_exist() {
    let check = |adjust: fn(&mut Commit<'_>)| {
        let mut writer = small_segment();
        writer.batch_with(&[Parts::plain(8, b"")], adjust);
        let (scan, found) = writer.scan(&writer.bytes);
        assert_eq!((found.batches.len(), scan.tail.offset), (5, writer.ends[5]));
        bad(&scan).fault.clone()
    };
    assert!(matches!(check(|commit| commit.batch_bytes += 8), Fault::Batch(BatchFault::Bytes { .. })));
    assert!(matches!(check(|commit| commit.durable_offset += 8000), Fault::Batch(BatchFault::DurableOffset { .. })));
    assert!(matches!(check(|commit| commit.durable_offset = 0), Fault::Batch(BatchFault::DurableOffset { .. })));
    assert!(matches!(check(|commit| commit.epoch = Epoch::new(2)), Fault::Batch(BatchFault::Epoch { .. })));
    assert!(matches!(check(|commit| commit.count = 2), Fault::Commit(CommitFault::Positions { .. })));
}

#[test]
fn a_batch_that_is_missing_without_moving_positions_breaks_the_chain() {
    let writer = small_segment();
    let mut bytes = writer.bytes.clone();
    bytes.drain(writer.ends[2] as usize..writer.ends[3] as usize); // the one without events
    let (scan, found) = writer.scan(&bytes);
    assert_eq!(found.batches.len(), 2);
    assert!(matches!(bad(&scan).fault, Fault::Batch(BatchFault::Chain { .. })), "{:?}", bad(&scan).fault);
}

#[test]
fn positions_near_the_end_of_all_numbers_do_not_overflow() {
    for base in [u64::MAX, u64::MAX - 1, u64::MAX - 2, u64::MAX - 3] {
        let mut header = header();
        header.base = Position::new(base);
        let mut writer = Writer::new(header);
        writer.batch(&[Parts::plain(1, b"")]);
        writer.batch(&[Parts::plain(2, b"")]);
        let (scan, _) = writer.scan(&writer.bytes);
        assert!(scan.tail.position < Position::END || base == u64::MAX, "{base}: no event is at the end");
        let mut bytes = writer.bytes.clone();
        bytes[writer.ends[0] as usize + 30] ^= 1;
        writer.scan(&bytes);
    }
}

fn sealed() -> (Writer, Trailer, u64) {
    let mut writer = small_segment();
    let seal_offset = writer.end();
    let trailer = writer.seal();
    (writer, trailer, seal_offset)
}

#[test]
fn a_sealed_segment_says_what_it_holds() {
    let (writer, trailer, seal_offset) = sealed();
    let (scan, _) = writer.scan(&writer.bytes);
    let Stop::Sealed(end) = scan.stop.clone() else { panic!("{:?}", scan.stop) };
    assert_eq!((end.trailer, end.seal_offset), (trailer, seal_offset));
    assert_eq!((end.seal.events, end.seal.batches, end.seal.last), (7, 5, Position::new(7)));
    assert_eq!((end.seal.min_recorded_at, end.seal.max_recorded_at), (1_001, 1_007));
    let mut source = &writer.bytes[..];
    assert_eq!(read_trailer(&mut source, writer.seed), Ok(Some(trailer)));
}

#[test]
fn a_sealed_segment_of_no_events_is_sealed() {
    let mut writer = Writer::new(header());
    writer.seal();
    assert!(matches!(writer.scan(&writer.bytes).0.stop, Stop::Sealed(_)));
}

#[test]
fn a_watermark_that_covers_the_seal_does_not_make_it_damage() {
    let (writer, trailer, _) = sealed();
    let (scan, _) = writer.scan(&writer.bytes);
    assert_eq!(scan.verdict(trailer.file_len), Verdict::Clean);
    let durable_offset = trailer.file_len + 1;
    assert_eq!(scan.verdict(durable_offset), Verdict::Damaged { durable_offset }, "but a shorter file is");
}

#[test]
fn any_flipped_bit_of_seal_index_or_trailer_is_found_and_is_part_of_the_tail() {
    let (writer, trailer, seal_offset) = sealed();
    let (_, whole) = writer.scan(&writer.bytes);
    let index_end = trailer.file_len - TRAILER_LEN as u64;
    for_each_flip(&writer.bytes, seal_offset as usize..writer.bytes.len(), |bit, bytes| {
        let (scan, found) = writer.scan(bytes);
        check_is_prefix(&found, &whole, 5);
        let (bad, at) = (bad(&scan), bit as u64 / 8);
        assert_eq!((bad.at, bad.later_commits, bad.resume), (seal_offset, 0, None), "bit {bit}");
        if at >= index_end {
            assert_eq!(bad.fault, Fault::Seal(SealFault::Trailer), "bit {bit}");
        } else if at >= trailer.index_offset {
            assert_eq!(bad.fault, Fault::Seal(SealFault::Index), "bit {bit}");
        }
        assert_eq!(scan.verdict(seal_offset), Verdict::Unfinished, "bit {bit}");
        let durable_offset = trailer.file_len;
        assert_eq!(scan.verdict(durable_offset), Verdict::Damaged { durable_offset }, "bit {bit}");
    });
}

#[test]
fn a_seal_cut_at_any_byte_is_part_of_the_tail() {
    let (writer, _, seal_offset) = sealed();
    for zeros in [0, 200] {
        for cut in each(seal_offset as usize + 1..writer.bytes.len()) {
            let mut bytes = writer.bytes[..cut].to_vec();
            bytes.resize(cut + zeros, 0);
            let (scan, found) = writer.scan(&bytes);
            assert_eq!((found.batches.len(), scan.tail.offset), (5, seal_offset), "cut at {cut}");
            assert_eq!(scan.verdict(seal_offset), Verdict::Unfinished, "cut at {cut}");
        }
    }
}

#[test]
fn zeros_behind_the_trailer_are_an_interrupted_trim_and_other_bytes_are_not() {
    let (mut writer, trailer, _) = sealed();
    writer.bytes.resize(writer.bytes.len() + 5_000, 0);
    let (scan, _) = writer.scan(&writer.bytes);
    assert!(matches!(&scan.stop, Stop::Sealed(end) if end.trailer == trailer), "{:?}", scan.stop);
    let mut source = &writer.bytes[..];
    assert_eq!(read_trailer(&mut source, writer.seed), Ok(None), "the file is not as long as it says");
    for at in [trailer.file_len, trailer.file_len + 4_999] {
        let mut bytes = writer.bytes.clone();
        bytes[at as usize] = 1;
        assert_eq!(bad(&writer.scan(&bytes).0).fault, Fault::Seal(SealFault::After));
    }
}

#[test]
fn a_seal_that_contradicts_the_batches_is_refused_though_its_checksum_is_good() {
    let (template, _, seal_offset) = sealed();
    let (scan, _) = template.scan(&template.bytes);
    let Stop::Sealed(end) = scan.stop else { panic!("{:?}", scan.stop) };
    let check = |adjust: fn(&mut Seal, &mut Vec<u32>), fault: SealFault| {
        let (mut seal, mut offsets) = (end.seal, template.offsets.clone());
        adjust(&mut seal, &mut offsets);
        let mut bytes = template.bytes[..seal_offset as usize].to_vec();
        seal.encode(&mut bytes, template.seed, seal_offset, offsets.into_iter());
        let (scan, _) = template.scan(&bytes);
        assert_eq!(bad(&scan).fault, Fault::Seal(fault), "{seal:?}");
    };
    check(|seal, _| seal.chain ^= 1, SealFault::Seal);
    check(|seal, _| seal.batches += 1, SealFault::Seal);
    check(|seal, _| seal.last = seal.last.plus(1), SealFault::Seal);
    check(|seal, _| seal.epoch = Epoch::new(0), SealFault::Seal);
    check(|seal, _| seal.min_recorded_at -= 1, SealFault::Seal);
    check(|seal, _| seal.max_recorded_at += 1, SealFault::Seal);
    check(
        |seal, offsets| {
            seal.events += 1;
            offsets.push(0);
        },
        SealFault::Seal,
    );
    check(|_, offsets| offsets[3] += 1, SealFault::Index);
    check(|_, offsets| offsets.swap(1, 2), SealFault::Index);
}

#[test]
fn a_trailer_that_contradicts_the_seal_is_refused_though_its_checksum_is_good() {
    let (writer, trailer, _) = sealed();
    let at = (trailer.file_len - 40) as usize;
    let check = |fields: &[(usize, u64)], bytes_at_8: usize| {
        let mut bytes = writer.bytes.clone();
        for &(field, value) in fields {
            bytes[at + field..at + field + bytes_at_8].copy_from_slice(&value.to_le_bytes()[..bytes_at_8]);
        }
        let crc = writer.seed.checksum(&bytes[at..at + 36]);
        bytes[at + 36..at + 40].copy_from_slice(&crc.to_le_bytes());
        match writer.scan(&bytes).0.stop {
            Stop::Sealed(_) => None,
            Stop::Bad(bad) => Some(bad.fault),
            Stop::End => panic!("the seal was overlooked"),
        }
    };
    let refused = Some(Fault::Seal(SealFault::Trailer));
    assert_eq!(check(&[], 0), None, "the forging itself is sound");
    assert_eq!(check(&[(28, u64::from(trailer.index_crc ^ 1))], 4), refused);
    assert_eq!(check(&[(8, trailer.file_len + 8), (16, trailer.index_offset + 8)], 8), refused);
    // Seven entries and eight take the same room.
    assert_eq!(check(&[(24, 8)], 4), refused);
    assert_eq!(check(&[(32, 1)], 4), refused);
}

#[test]
fn a_seal_in_the_middle_of_a_batch_is_refused() {
    let mut writer = Writer::new(header());
    let event = Parts::plain(1, b"");
    event.event(Position::new(1)).encode(&mut writer.bytes, writer.seed, writer.epoch);
    writer.position = Position::new(1);
    writer.seal();
    let (scan, found) = writer.scan(&writer.bytes);
    assert_eq!((bad(&scan).fault.clone(), found.batches.len()), (Fault::Seal(SealFault::Seal), 0));
}

#[test]
fn a_scan_from_the_middle_accepts_the_seal_that_a_scan_from_the_start_accepts() {
    let (writer, _, _) = sealed();
    let (whole, _) = writer.scan(&writer.bytes);
    let mut damaged = writer.bytes.clone();
    damaged[writer.ends[1] as usize + 30] ^= 1;
    let resume = bad(&writer.scan(&damaged).0).resume.unwrap();
    let mut source = &damaged[..];
    let Ok(scan) = super::scan(&mut source, writer.seed, resume, &mut ());
    assert_eq!(scan.stop, whole.stop);
}

#[test]
fn every_source_leads_to_the_same_judgement() {
    let mut rng = Rng::new(7);
    let mut scripts = 0;
    for seed in 0..rounds(300) {
        let mut writer = Writer::new(header());
        for _ in 0..rng.below(6) {
            let events: Vec<_> = (0..rng.below(4)).map(|_| Parts::random(&mut rng)).collect();
            if rng.chance() {
                writer.sync();
            }
            writer.batch(&events);
        }
        if rng.chance() {
            writer.seal();
        }
        let mut bytes = writer.bytes.clone();
        let zeros = if rng.chance() { rng.below(100_000) } else { 0 };
        bytes.resize(bytes.len() + zeros, 0);
        for _ in 0..rng.below(3) {
            let bit = 4096 * 8 + rng.below((bytes.len() - 4096) * 8 + 1);
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
                scripts += 1;
            }
        }
        if rng.chance() {
            bytes.truncate(4096 + rng.below(bytes.len() - 4096 + 1));
        }
        check_through_keyholes(&writer, &bytes, seed);
    }
    assert!(scripts > 100, "the test still damages something");
}

#[test]
fn a_length_that_is_not_true_is_never_made_room_for() {
    // A flipped bit in a length, with enough file behind it for the length to
    // be possible: a source that reads from a disk must not be asked for it all.
    let mut writer = Writer::new(header());
    writer.batch(&[Parts::plain(1, b"")]);
    let mut bytes = writer.bytes.clone();
    bytes.resize(bytes.len() + 40_000_000, 0);
    bytes[writer.ends[0] as usize + 4 + 3] ^= 2; // 32 MiB
    let mut source = Miser::new(&bytes, 1, 0);
    let Ok(scan) = super::scan(&mut source, writer.seed, first_tail(&writer.header), &mut ());
    assert!(matches!(bad(&scan).fault, Fault::Frame(FrameFault::Checksum { .. })));
    assert!(source.most <= WINDOW, "{} bytes were asked for", source.most);
    assert_eq!(scan, writer.scan(&bytes).0);
}

#[test]
#[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
fn a_frame_that_is_longer_than_a_window_is_read_through_any_source() {
    let mut writer = Writer::new(header());
    writer.batch(&[Parts::plain(1, &vec![7; 3 * WINDOW])]);
    writer.batch(&[Parts::plain(2, b"")]);
    check_through_keyholes(&writer, &writer.bytes, 1);
    assert_eq!(writer.scan(&writer.bytes).0.totals.events, 2);
    let mut bytes = writer.bytes.clone();
    bytes[4096 + 2 * WINDOW] ^= 1;
    check_through_keyholes(&writer, &bytes, 2);
    assert_eq!(bad(&writer.scan(&bytes).0).later_commits, 2);
}

#[test]
#[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
fn markers_laid_over_one_large_batch_do_not_make_the_search_slow() {
    // A thousand markers that all claim the same megabyte of events: followed
    // one by one, that would be a gigabyte of checksums.
    let mut writer = Writer::new(header());
    writer.batch(&[Parts::plain(1, b"")]);
    let start = writer.end();
    for _ in 0..1_000 {
        writer.position = writer.position.plus(1);
        Parts::plain(2, &[0; 900]).event(writer.position).encode(&mut writer.bytes, writer.seed, writer.epoch);
    }
    // Only their end shows that they are not whole: the marker has another epoch.
    let end = writer.end();
    writer.epoch = Epoch::new(2);
    for n in 0..1_000 {
        let mut commit = Commit::new(writer.epoch, writer.position, 1_000);
        commit.batch_bytes = (end - start + 64 * n) as u32;
        commit.encode(&mut writer.bytes, writer.seed, 0, &mut crate::Chain::default());
    }
    writer.bytes[4096 + 30] ^= 1;
    let mut source = Miser::new(&writer.bytes, 1, 0);
    let mut counter = Counting { source: &mut source, given: 0 };
    let Ok(scan) = super::scan(&mut counter, writer.seed, first_tail(&writer.header), &mut ());
    assert_eq!((bad(&scan).later_commits, bad(&scan).resume), (1_001, None));
    assert!(counter.given < 30 * writer.end(), "{} bytes for {}", counter.given, writer.end());
}

/// Counts the bytes that a source gives.
struct Counting<'a, S> {
    source: &'a mut S,
    given: u64,
}

impl<S: Source> Source for Counting<'_, S> {
    type Error = S::Error;

    fn len(&self) -> u64 {
        self.source.len()
    }

    fn bytes(&mut self, offset: u64, least: usize) -> Result<&[u8], S::Error> {
        let bytes = self.source.bytes(offset, least)?;
        self.given += bytes.len() as u64;
        Ok(bytes)
    }
}

#[test]
fn a_source_that_fails_is_not_the_end_of_the_log() {
    struct Failing<'a>(&'a [u8], u32);
    impl Source for Failing<'_> {
        type Error = u32;

        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        /// No more than what is asked for, so that a scan asks often.
        fn bytes(&mut self, offset: u64, least: usize) -> Result<&[u8], u32> {
            self.1 = self.1.checked_sub(1).ok_or(5_u32)?;
            let rest = &self.0[offset as usize..];
            Ok(&rest[..least.min(rest.len())])
        }
    }
    let (writer, _, _) = sealed();
    let mut reads = 0;
    loop {
        let mut source = Failing(&writer.bytes, reads);
        match super::scan(&mut source, writer.seed, first_tail(&writer.header), &mut ()) {
            Ok(scan) => break assert!(matches!(scan.stop, Stop::Sealed(_))),
            Err(error) => assert_eq!(error, 5),
        }
        reads += 1;
    }
    assert!(reads > 10);
}

#[test]
fn what_a_source_gives_behind_its_length_is_not_of_the_log() {
    struct Longer<'a>(&'a [u8], u64);
    impl Source for Longer<'_> {
        type Error = std::convert::Infallible;

        fn len(&self) -> u64 {
            self.1
        }

        fn bytes(&mut self, offset: u64, _least: usize) -> Result<&[u8], Self::Error> {
            Ok(&self.0[offset as usize..])
        }
    }
    let (writer, _, _) = sealed();
    for len in (0..=writer.bytes.len()).step_by(8) {
        let tail = first_tail(&writer.header);
        let longer = super::scan(&mut Longer(&writer.bytes, len as u64), writer.seed, tail, &mut ()).unwrap();
        let exact = super::scan(&mut &writer.bytes[..len], writer.seed, tail, &mut ()).unwrap();
        assert_eq!(longer.tail, exact.tail, "{len} bytes");
    }
}

#[test]
fn a_source_that_gives_less_than_its_length_ends_the_scan_and_does_not_hang_it() {
    struct Shrunk<'a>(&'a [u8], u64);
    impl Source for Shrunk<'_> {
        type Error = Infallible;

        fn len(&self) -> u64 {
            self.1
        }

        fn bytes(&mut self, offset: u64, _least: usize) -> Result<&[u8], Infallible> {
            Ok(&self.0[(offset as usize).min(self.0.len())..])
        }
    }
    let (writer, _, _) = sealed();
    for cut in 4096..writer.bytes.len() {
        let mut source = Shrunk(&writer.bytes[..cut], writer.end() + 1_000_000);
        let Ok(scan) = super::scan(&mut source, writer.seed, first_tail(&writer.header), &mut ());
        assert!(scan.tail.offset <= cut as u64);
    }
}

#[test]
fn no_bytes_whatever_make_the_scan_panic() {
    let mut rng = Rng::new(8);
    let writer = small_segment();
    let frames = &writer.bytes[4096..];
    for round in 0..rounds(3_000) {
        let mut bytes = writer.bytes[..4096].to_vec();
        for _ in 0..rng.below(5) {
            match rng.below(4) {
                0 => {
                    let len = rng.below(300);
                    bytes.extend(rng.bytes(len));
                }
                1 => bytes.resize(bytes.len() + rng.below(300), 0),
                2 => bytes.resize(bytes.len() + rng.below(300), 0xFF),
                _ => {
                    let start = rng.below(frames.len());
                    let end = start + rng.below(frames.len() - start);
                    bytes.extend_from_slice(&frames[start..end]);
                }
            }
        }
        check_through_keyholes(&writer, &bytes, round);
    }
}

#[test]
fn good_frames_in_any_order_never_panic_and_never_give_what_was_not_written() {
    // What a forger can do who knows the seed: any frames, in any order.
    let mut rng = Rng::new(9);
    for round in 0..rounds(2_000) {
        let mut writer = Writer::new(header());
        for _ in 0..rng.below(8) {
            match rng.below(5) {
                0 => writer.batch(&[Parts::random(&mut rng)]),
                1 => writer.position = Position::new(rng.next() >> rng.below(64)),
                2 => {
                    let (kind, len) = (rng.next() as u8 & 0x83, rng.below(120));
                    let body = if rng.chance() { rng.bytes(len) } else { vec![0; len] };
                    writer.raw_frame(kind, &body);
                }
                3 => writer.batch_with(&[Parts::random(&mut rng)], |commit| {
                    commit.batch_bytes = rng_u32(round);
                    commit.durable_offset = u64::from(rng_u32(round + 1)) << (round % 40);
                }),
                _ => writer.epoch = Epoch::new(rng_u32(round)),
            }
        }
        check_through_keyholes(&writer, &writer.bytes, round);
    }
}

fn rng_u32(seed: u64) -> u32 {
    Rng::new(seed).next() as u32
}

#[test]
#[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
fn a_log_with_very_many_bad_places_is_not_searched_to_its_end_from_each_of_them() {
    let mut writer = Writer::new(header());
    for n in 1..=600 {
        writer.batch(&[Parts::plain(n, &[7; 4000])]);
        writer.sync();
    }
    let mut bytes = writer.bytes.clone();
    for bad in (0..590).step_by(2) {
        bytes[writer.ends[bad] as usize + 200] ^= 1;
    }
    let mut miser = Miser::new(&bytes, 1, 0);
    let mut source = Counting { source: &mut miser, given: 0 };
    let mut from = first_tail(&writer.header);
    let (mut bad_places, mut events) = (0, 0);
    loop {
        let Ok(scan) = super::scan(&mut source, writer.seed, from, &mut ());
        events += scan.totals.events;
        let Stop::Bad(Bad { resume: Some(resume), .. }) = scan.stop else { break };
        bad_places += 1;
        from = resume;
    }
    assert_eq!((bad_places, events), (295, 305), "every other batch is read");
    let most = (bad_places + 10) * 4 * WINDOW as u64;
    assert!(source.given < most, "{} bytes were read of a log of {}", source.given, bytes.len());
}
