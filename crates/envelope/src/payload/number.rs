//! Integers, booleans, floats and decimals.

use arrow_array::types::Decimal256Type;
use arrow_array::{ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow_buffer::i256;

use super::{AppendValue, unsupported};

pub(super) fn booleans(array: &BooleanArray) -> AppendValue<'_> {
    Box::new(|row, out| {
        let text: &[u8] = if array.value(row) { b"true" } else { b"false" };
        out.extend_from_slice(text);
        Ok(())
    })
}

pub(super) fn integers<T>(array: &PrimitiveArray<T>) -> AppendValue<'_>
where
    T: ArrowPrimitiveType<Native: itoa::Integer>,
{
    let values = array.values();
    Box::new(|row, out| {
        out.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
        Ok(())
    })
}

pub(super) fn floats<T>(array: &PrimitiveArray<T>) -> AppendValue<'_>
where
    T: ArrowPrimitiveType<Native: Into<f64>>,
{
    let values = array.values();
    Box::new(|row, out| {
        let value: f64 = values[row].into();
        if !value.is_finite() {
            return unsupported(format!("is {value}"));
        }
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        Ok(())
    })
}

pub(super) fn decimals<T>(array: &PrimitiveArray<T>, scale: i8) -> AppendValue<'_>
where
    T: ArrowPrimitiveType<Native: Into<i128>>,
{
    let values = array.values();
    Box::new(move |row, out| {
        let value: i128 = values[row].into();
        let mut buffer = itoa::Buffer::new();
        append_decimal(
            value < 0,
            buffer.format(value.unsigned_abs()).as_bytes(),
            scale,
            out,
        );
        Ok(())
    })
}

pub(super) fn wide_decimals(array: &PrimitiveArray<Decimal256Type>, scale: i8) -> AppendValue<'_> {
    let values = array.values();
    Box::new(move |row, out| {
        let value = values[row];
        let mut buffer = [b'0'; WIDE_DIGITS];
        append_decimal(
            value.is_negative(),
            wide_digits(value, &mut buffer),
            scale,
            out,
        );
        Ok(())
    })
}

/// More than the 78 digits that 256 bits can have.
const WIDE_DIGITS: usize = 3 * LIMB_DIGITS;
const LIMB_DIGITS: usize = 30;

/// The decimal digits of a number without its sign.
fn wide_digits(value: i256, buffer: &mut [u8; WIDE_DIGITS]) -> &[u8] {
    let limb = i256::from_i128(10_i128.pow(LIMB_DIGITS as u32));
    let mut rest = value;
    for place in buffer.chunks_exact_mut(LIMB_DIGITS).rev() {
        // The remainder has the sign of the number, and fits 128 bits.
        let part = rest.wrapping_rem(limb).as_i128().unsigned_abs();
        rest = rest.wrapping_div(limb);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(part).as_bytes();
        place[LIMB_DIGITS - digits.len()..].copy_from_slice(digits);
    }
    let zeros = buffer.iter().take_while(|&&digit| digit == b'0').count();
    &buffer[zeros.min(WIDE_DIGITS - 1)..]
}

/// Appends `digits` × 10^-`scale` with all its digits, as a JSON number without exponent.
fn append_decimal(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    if negative {
        out.push(b'-');
    }
    let fraction = usize::from(scale.max(0).unsigned_abs());
    let (whole, rest) = digits.split_at(digits.len().saturating_sub(fraction));
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    if fraction > 0 {
        out.push(b'.');
        out.resize(out.len() + fraction - rest.len(), b'0');
        out.extend_from_slice(rest);
    } else if digits != b"0" {
        out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decimal(value: i128, scale: i8) -> String {
        let mut out = Vec::new();
        let digits = value.unsigned_abs().to_string();
        append_decimal(value < 0, digits.as_bytes(), scale, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_keep_every_digit_of_their_scale() {
        assert_eq!(decimal(12_345, 2), "123.45");
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(0, 3), "0.000");
        assert_eq!(decimal(100, 2), "1.00");
        assert_eq!(decimal(7, 0), "7");
        assert_eq!(decimal(-12, -3), "-12000");
        assert_eq!(decimal(0, -3), "0");
        assert_eq!(
            decimal(i128::MIN, 38),
            "-1.70141183460469231731687303715884105728"
        );
    }

    #[test]
    fn two_hundred_and_fifty_six_bits_have_all_their_digits() {
        for value in [
            i256::ZERO,
            i256::ONE,
            i256::MINUS_ONE,
            i256::from_i128(i128::MAX),
            i256::from_i128(10_i128.pow(30)),
            i256::MAX,
            i256::MIN,
        ] {
            let mut buffer = [b'0'; WIDE_DIGITS];
            let digits = std::str::from_utf8(wide_digits(value, &mut buffer)).unwrap();
            assert_eq!(digits, value.to_string().trim_start_matches('-'));
        }
    }
}
