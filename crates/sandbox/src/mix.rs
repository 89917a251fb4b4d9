//! The one source of "randomness" here: a pure function of its inputs, so that
//! a world does not depend on how many threads build it, nor a fault plan on
//! anything but its seed.

/// SplitMix64's finaliser: 64 well-mixed bits of 64.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Well-mixed bits of a pair; the order of the two matters.
pub(crate) fn mix_pair(salt: u64, value: u64) -> u64 {
    mix(mix(salt) ^ value)
}

/// A fraction in `[0, 1)`.
pub(crate) fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A one-to-one map of the 62-bit numbers onto themselves: distinct rows get
/// distinct ids, and most ids are beyond what a double can hold exactly.
pub(crate) fn scatter_62(value: u64) -> i64 {
    const MASK: u64 = (1 << 62) - 1;
    let mut z = value & MASK;
    z = z.wrapping_mul(0x9e37_79b9_7f4a_7c15) & MASK;
    z ^= z >> 31;
    z = z.wrapping_mul(0xbf58_476d_1ce4_e5b9) & MASK;
    z ^= z >> 29;
    z as i64
}

#[cfg(test)]
mod tests {
    use super::scatter_62;

    #[test]
    fn distinct_rows_get_distinct_ids() {
        let ids: std::collections::HashSet<i64> = (0..200_000).map(scatter_62).collect();
        assert_eq!(ids.len(), 200_000);
        assert!(ids.iter().all(|id| *id >= 0));
    }
}
