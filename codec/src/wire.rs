//! Byte order, and nothing else: little-endian integers in and out of slices.
//!
//! The only file of the workspace that knows it. The readers take an offset
//! and panic when the slice is too short, so every caller has compared a length
//! with a constant before it reads; the writers append.

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

/// Reads the little-endian `u32` at `at`.
///
/// # Panics
///
/// When `bytes` ends before `at + 4`.
#[inline]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// Reads the little-endian `u64` at `at`.
///
/// # Panics
///
/// When `bytes` ends before `at + 8`.
#[inline]
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// Eight bytes as a number that sorts as they do. Not the format's order: that
/// of RFC 9562, and of names in a dictionary.
#[inline]
pub(crate) fn big_endian_u64(bytes: [u8; 8]) -> u64 {
    u64::from_be_bytes(bytes)
}

/// Reads a counter that later ones are made from by adding: `None` when its
/// highest bit is set, which none ever reaches, so that adding cannot overflow.
#[inline]
pub(crate) fn count_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64_at(bytes, at)).filter(|&count| count <= u64::MAX / 2)
}

#[inline]
pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(array_at(bytes, at))
}

#[inline]
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[inline]
pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// The four bytes of `value`, for a checksum that is computed over them.
#[inline]
pub(crate) fn bytes_of(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

/// Overwrites two bytes at `at` with `value`.
#[inline]
pub(crate) fn set_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Overwrites four bytes at `at` with `value`.
#[inline]
pub(crate) fn set_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Overwrites eight bytes at `at` with `value`.
#[inline]
pub(crate) fn set_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Overwrites eight bytes at `at` with `value`.
#[inline]
pub(crate) fn set_i64(bytes: &mut [u8], at: usize, value: i64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
