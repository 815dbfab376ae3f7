//! A hash of a window that moves over a text, in one multiplication for each byte.

/// The prime 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

pub(super) struct Rolling;

impl Rolling {
    /// The hash of a whole text.
    pub fn of(base: u64, text: &[u8]) -> u64 {
        text.iter().fold(0, |h, b| push(h, base, *b))
    }
}

/// A base for the hash out of random bytes: unpredictable, so that no text can be made to hit by chance.
pub(super) fn base(random: &[u8]) -> u64 {
    let n = random.iter().fold(0_u64, |n, b| (n << 8) | u64::from(*b));
    n % (PRIME - 1024) + 512
}

/// Every window of `len` bytes: where it starts, and its hash. `len` is at most the text's.
pub(super) fn windows(base: u64, text: &[u8], len: usize) -> impl Iterator<Item = (usize, u64)> + '_ {
    let out = (1..len).fold(1, |p, _| times(p, base));
    let (first, _) = text.split_at(len.min(text.len()));
    let mut hash = Rolling::of(base, first);
    std::iter::once((0, hash)).chain((len..text.len()).map(move |i| {
        let gone = times(out, u64::from(text[i - len]) + 1);
        hash = push((hash + PRIME - gone) % PRIME, base, text[i]);
        (i - len + 1, hash)
    }))
}

fn push(hash: u64, base: u64, byte: u8) -> u64 {
    // Plus one, so that zero bytes count.
    (times(hash, base) + u64::from(byte) + 1) % PRIME
}

fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    // The low 61 bits and the rest; both fit, as the factors are below 2^61.
    let (low, high) = ((product as u64) & PRIME, (product >> 61) as u64);
    (low + high) % PRIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_window_has_the_hash_of_its_text() {
        let text: Vec<u8> = (0..500_u32).map(|i| (i * 7 % 256) as u8).collect();
        let base = base(&[0xff; 8]);
        for len in [1, 2, 8, 63, 500] {
            let mut n = 0;
            for (start, hash) in windows(base, &text, len) {
                assert_eq!(hash, Rolling::of(base, &text[start..start + len]), "{len} at {start}");
                n += 1;
            }
            assert_eq!(n, text.len() - len + 1);
        }
    }
}
