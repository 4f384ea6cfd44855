//! Ids that the store made: told from the position, so that no index needs to hold them.
//!
//! ```text
//!  bytes    0           6          7            8                                        16
//!           +-----------+----------+------------+----------------------------------------+
//!           | millis 48 | 0111     | rand_a  12 | 10 | rand_b  62                        |
//!           +-----------+----------+------------+----------------------------------------+
//!                                  salt 52..=63         position × SPREAD + salt, mod 2⁶²
//! ```
//!
//! What is always true:
//!
//! - `SPREAD` is odd, so that multiplying by it permutes the numbers below 2⁶²:
//!   one maker never makes an id twice, and an id tells the position again.
//! - `rand_a` and the position tell the whole salt, and ten of its bits twice.
//!   An id of another origin agrees with itself once in 1024 times.
//! - What comes out is a candidate: somebody may have *given* such an id. Only
//!   the event at that position can tell.

use crate::ids::{EventId, Position};
use crate::wire;

/// The low 62 bits: what the variant leaves of the second half of a UUID.
const LOW_62: u64 = u64::MAX >> 2;

/// Makes ids that are new by construction: no look-up is needed.
///
/// UUIDs of version 7. Their last 62 bits are a permutation of the event's
/// position, moved by the salt, a random number. So two events of one maker never
/// share an id, and those of different makers only by an accident of 2⁻⁶² within
/// one millisecond.
///
/// ```
/// use annals_codec::{IdMaker, Position};
///
/// let maker = IdMaker::new(0x0123_4567_89AB_CDEF);
/// let id = maker.make(Position::new(42), 1_767_323_045_000);
/// assert_eq!(maker.position_of(id), Some(Position::new(42)));
/// assert_eq!(IdMaker::of(id, Position::new(42)), Some(maker));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IdMaker {
    salt: u64,
}

impl IdMaker {
    /// Odd, so that multiplying by it is a permutation; its bits are those of the golden ratio.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    /// Takes a multiplication by `SPREAD` back.
    const GATHER: u64 = inverse(IdMaker::SPREAD);

    /// The maker with this salt.
    pub const fn new(salt: u64) -> IdMaker {
        IdMaker { salt }
    }

    /// The salt.
    pub const fn salt(self) -> u64 {
        self.salt
    }

    /// The id of the event at `position`, `unix_millis` milliseconds after 1970 UTC.
    pub fn make(self, position: Position, unix_millis: u64) -> EventId {
        let spread = position.get().wrapping_mul(IdMaker::SPREAD).wrapping_add(self.salt);
        EventId::version_7(unix_millis, (self.salt >> 52) as u16, spread)
    }

    /// The milliseconds that an id says which is made for an event recorded then: nanoseconds since
    /// 1970 UTC, and for what comes before, that moment.
    pub fn millis_of(recorded_at: i64) -> u64 {
        u64::try_from(recorded_at / 1_000_000).unwrap_or(0)
    }

    /// The position for which this maker would have made `id`, below 2⁶²; `None`
    /// when it makes no such id. A candidate only: look at the event.
    pub fn position_of(self, id: EventId) -> Option<Position> {
        let parts = Parts::of(id)?;
        let spread = parts.rand_b.wrapping_sub(self.salt);
        (parts.rand_a == self.salt >> 52).then(|| Position::new(spread.wrapping_mul(IdMaker::GATHER) & LOW_62))
    }

    /// The maker that would have made `id` for `position`; `None` when none would.
    pub fn of(id: EventId, position: Position) -> Option<IdMaker> {
        let parts = Parts::of(id)?;
        let low = parts.rand_b.wrapping_sub(position.get().wrapping_mul(IdMaker::SPREAD)) & LOW_62;
        // Bits 52..=61 of the salt stand in both parts, 62 and 63 in the first alone.
        (low >> 52 == parts.rand_a & 0x3FF).then_some(IdMaker { salt: (parts.rand_a >> 10) << 62 | low })
    }
}

/// What a maker chooses of an id.
struct Parts {
    /// 12 bits.
    rand_a: u64,
    /// 62 bits.
    rand_b: u64,
}

impl Parts {
    /// `None` when `id` is not a UUID of version 7.
    fn of(id: EventId) -> Option<Parts> {
        let half = |at| wire::big_endian_u64(wire::array_at(id.as_bytes(), at));
        let (high, low) = (half(0), half(8));
        let is_version_7 = high >> 12 & 0xF == 7 && low >> 62 == 0b10;
        is_version_7.then_some(Parts { rand_a: high & 0xFFF, rand_b: low & LOW_62 })
    }
}

/// The inverse of an odd number, mod 2⁶⁴: Newton's iteration, each step of which doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd; // Right in its lowest 3 bits.
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

const _: () = assert!(IdMaker::SPREAD.wrapping_mul(IdMaker::GATHER) == 1);

/// Which events of a segment have ids that a store made: ranges of positions, one
/// for each maker, so that such ids take no room in an index.
///
/// A range covers every position from its first to its last, also those between
/// whose ids were given by the author of the event. Only candidates come out.
#[derive(Clone, Debug, Default)]
pub struct MadeIds {
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    maker: IdMaker,
    first: Position,
    last: Position,
    /// For the index: it keeps the id of a run of one in its table.
    first_id: EventId,
}

/// How many runs one more event may belong to: those that an event was added to
/// last. More than one, because one given id in a thousand looks as if it were
/// made, and begins a run of its own.
const OPEN_RUNS: usize = 4;

impl MadeIds {
    /// Takes in the id of the event at `position`, which is higher than all before, and when it was
    /// recorded. `false` when no maker would have made it then and there, so that it must be kept
    /// elsewhere: in a copy of another log the ids agree with the positions, and the times do not.
    pub fn push(&mut self, position: Position, recorded_at: i64, id: EventId) -> bool {
        if id.unix_millis() != Some(IdMaker::millis_of(recorded_at)) {
            return false;
        }
        let Some(maker) = IdMaker::of(id, position) else { return false };
        let open = self.runs.len().saturating_sub(OPEN_RUNS);
        let open = &mut self.runs[open..];
        match open.iter().rposition(|run| run.maker == maker) {
            Some(at) => {
                open[at].last = position;
                // To the end: what nothing was added to for long is closed first.
                open[at..].rotate_left(1);
            }
            None => self.runs.push(Run { maker, first: position, last: position, first_id: id }),
        }
        true
    }

    /// The positions at which the event with this id may be, if its id was made by a store.
    pub fn candidates(&self, id: EventId) -> impl Iterator<Item = Position> {
        self.runs.iter().filter_map(move |run| {
            let position = run.maker.position_of(id)?;
            (run.first..=run.last).contains(&position).then_some(position)
        })
    }

    /// Each run: its maker, its first and its last position. In no order.
    pub fn runs(&self) -> impl Iterator<Item = (IdMaker, Position, Position)> {
        self.runs.iter().map(|run| (run.maker, run.first, run.last))
    }

    /// Takes the runs of one event out: such a run takes more room than its id.
    pub(crate) fn take_single(&mut self) -> impl Iterator<Item = (Position, EventId)> {
        self.runs.extract_if(.., |run| run.first == run.last).map(|run| (run.first, run.first_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, rounds};

    fn random_id(rng: &mut Rng) -> EventId {
        EventId::from_bytes(std::array::from_fn(|_| rng.next() as u8))
    }

    #[test]
    fn an_id_tells_its_position_and_its_maker() {
        let mut rng = Rng::new(1);
        let positions = [1, 2, 3, 1 << 20, 1 << 40, (1 << 62) - 1];
        for salt in [0, 1, u64::MAX, 1 << 52, 1 << 61, 1 << 62, 1 << 63, rng.next(), rng.next(), rng.next()] {
            let random: [u64; 100] = std::array::from_fn(|_| rng.next() >> 2);
            for position in positions.into_iter().chain(random).map(Position::new) {
                let maker = IdMaker::new(salt);
                let id = maker.make(position, rng.next() >> 16);
                assert_eq!(maker.position_of(id), Some(position), "salt {salt:#x}");
                assert_eq!(IdMaker::of(id, position), Some(maker), "salt {salt:#x}, position {position}");
            }
        }
    }

    #[test]
    fn what_is_made_stays_what_it_is() {
        let id = IdMaker::new(0xFEDC_BA98_7654_3210).make(Position::new(7), 0x0123_4567_89AB);
        assert_eq!(id.to_string(), "01234567-89ab-7fed-9261-0eaaf15d96a3");
    }

    #[test]
    fn another_maker_or_another_position_is_not_taken_for_it() {
        let (maker, position) = (IdMaker::new(0x0123_4567_89AB_CDEF), Position::new(1_000));
        let id = maker.make(position, 5);
        for bit in 0..64 {
            let other = IdMaker::new(maker.salt() ^ 1 << bit);
            assert_ne!(other.position_of(id), Some(position), "bit {bit}");
            assert_ne!(IdMaker::of(id, position), Some(other), "bit {bit}");
        }
        assert!((1..1_000).all(|other| IdMaker::of(id, Position::new(other)) != Some(maker)));
    }

    #[test]
    fn a_random_id_is_hardly_ever_taken_for_a_made_one() {
        let mut rng = Rng::new(2);
        let mut taken = 0;
        for _ in 0..rounds(100_000) {
            let position = Position::new(rng.next() >> 30);
            let id = random_id(&mut rng);
            assert!(IdMaker::of(id, position).is_none_or(|maker| maker.position_of(id) == Some(position)));
            // Versions 4 and 7: the next is as good as random too, but says that it is version 7.
            let version_7 = EventId::version_7(rng.next(), rng.next() as u16, rng.next());
            taken += u32::from(IdMaker::of(version_7, position).is_some());
            let mut version_4 = *id.as_bytes();
            version_4[6] = version_4[6] & 0x0F | 0x40;
            assert_eq!(IdMaker::of(EventId::from_bytes(version_4), position), None);
            let mut variant_0 = *version_7.as_bytes();
            variant_0[8] &= 0x7F;
            assert_eq!(IdMaker::of(EventId::from_bytes(variant_0), position), None);
            assert_eq!(IdMaker::new(rng.next()).position_of(EventId::from_bytes(variant_0)), None);
        }
        assert!((50..150).contains(&taken), "{taken} of 100,000, one in 1024 expected");
    }

    #[test]
    fn every_made_id_is_found_among_given_ones_of_any_kind() {
        for seed in 0..rounds(30) {
            let mut rng = Rng::new(seed);
            let makers = [IdMaker::new(rng.next()), IdMaker::new(rng.next())];
            let (mut made, mut pushed) = (MadeIds::default(), Vec::new());
            for n in 1..=rounds(5_000) {
                let (position, millis) = (Position::new(n), rng.next() >> 32);
                let id = match rng.below(4) {
                    0 => random_id(&mut rng),
                    1 => EventId::version_7(millis, rng.next() as u16, rng.next()),
                    _ => makers[(n / 1_500 % 2) as usize].make(position, millis),
                };
                pushed.push((position, id, made.push(position, 1_000_000 * millis.cast_signed(), id)));
            }
            for &(position, id, covered) in &pushed {
                let found = made.candidates(id).any(|candidate| candidate == position);
                assert_eq!(found, covered, "seed {seed}, position {position}");
            }
            let single = made.take_single().collect::<Vec<_>>();
            assert!(made.runs().all(|(_, first, last)| first < last));
            assert!(made.runs().count() < 20, "seed {seed}: {}", made.runs().count());
            for (position, id) in single {
                assert_eq!(pushed[position.get() as usize - 1], (position, id, true), "seed {seed}");
            }
        }
    }

    #[test]
    fn ids_that_look_as_if_they_were_made_do_not_end_the_run_of_a_store() {
        let mut made = MadeIds::default();
        for n in 1..=1_000 {
            // Every second id is of a maker of its own; three in a row are, once.
            let salt = if n % 2 == 0 || (500..503).contains(&n) { n } else { 0 };
            made.push(Position::new(n), 0, IdMaker::new(salt).make(Position::new(n), 0));
        }
        let long = made.runs().filter(|(_, first, last)| first < last).collect::<Vec<_>>();
        assert_eq!(long, [(IdMaker::new(0), Position::new(1), Position::new(999))]);
    }

    #[test]
    fn an_id_that_only_another_store_can_have_made_has_no_candidates() {
        let mut made = MadeIds::default();
        for n in 1..=1_000 {
            assert!(made.push(
                Position::new(n),
                1_000_000 * n.cast_signed(),
                IdMaker::new(5).make(Position::new(n), n)
            ));
        }
        assert_eq!(made.runs().collect::<Vec<_>>(), [(IdMaker::new(5), Position::new(1), Position::new(1_000))]);
        assert_eq!(made.candidates(IdMaker::new(6).make(Position::new(7), 7)).count(), 0);
        assert_eq!(made.candidates(IdMaker::new(5).make(Position::new(1_001), 7)).count(), 0, "not in this segment");
        assert_eq!(
            made.candidates(IdMaker::new(5).make(Position::new(1_000), 0)).count(),
            1,
            "the time is not looked at"
        );
    }
}
