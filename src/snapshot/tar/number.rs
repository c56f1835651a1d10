//! Numbers of header blocks and of pax records.

/// Reads a header field: octal digits with leading blanks, ended by a blank, a
/// NUL or the field's end; or GNU's base-256 form (first byte 0x80).
///
/// `None` for anything else, a negative number among it. A field of NULs is 0.
pub(crate) fn field(bytes: &[u8]) -> Option<u64> {
    match bytes.split_first() {
        Some((0x80, digits)) => base256(digits),
        _ => octal(bytes),
    }
}

/// As [`field`], with negative base-256 numbers (first byte 0xff) taken for 0:
/// for times, which are clamped and not refused.
pub(crate) fn time_field(bytes: &[u8]) -> Option<u64> {
    if bytes.first() == Some(&0xff) { Some(0) } else { field(bytes) }
}

fn base256(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| value.checked_mul(256)?.checked_add(u64::from(*digit)))
}

fn octal(bytes: &[u8]) -> Option<u64> {
    let start = bytes.iter().position(|byte| *byte != b' ')?;
    let digits = bytes.get(start..)?;
    let end = digits.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end)?;
    // What follows the terminator is nobody's: a reader that goes on there sees another number.
    if !rest.iter().all(|byte| matches!(byte, b' ' | 0)) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(u64::from(digit))
    })
}

/// Reads a decimal number: digits only, at least one.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a pax time, `seconds[.fraction]`, as seconds and nanoseconds; digits
/// beyond the ninth are cut off, times before 1970 become 1970.
pub(crate) fn pax_time(bytes: &[u8]) -> Option<(u64, u32)> {
    let (negative, bytes) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, bytes),
    };
    let mut parts = bytes.splitn(2, |byte| *byte == b'.');
    let seconds = decimal(parts.next()?)?;
    let fraction = parts.next().unwrap_or(b"0");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0, |value: u32, digit| value * 10 + u32::from(digit - b'0'));
    Some(if negative { (0, 0) } else { (seconds, nanos) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let cases: [(&[u8], Option<u64>); 18] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"+AAAAAA\0", None),
            (b"644\0 777", None),
            (b"0x1\0", None),
            (b"", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x81\0\0\0\0\0\0\x01", None),
            (b"777777777777777777777", Some(0o777_777_777_777_777_777_777)),
            (b"7777777777777777777777", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(field(bytes), expected, "{}", bytes.escape_ascii());
        }
        assert_eq!(time_field(b"\xff\xff\xff\xff"), Some(0));
        assert_eq!(time_field(b"17\0"), Some(15));
    }

    #[test]
    fn decimals_and_times() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"18446744073709551616", b"-1", b"+1", b" 1", b"1 ", b"0x1", b"1\n"] {
            assert_eq!(decimal(bad), None, "{}", bad.escape_ascii());
        }
        type Time = Option<(u64, u32)>;
        let cases: [(&[u8], Time); 8] = [
            (b"1350244992.023960108", Some((1_350_244_992, 23_960_108))),
            (b"1350244992", Some((1_350_244_992, 0))),
            (b"1.5", Some((1, 500_000_000))),
            (b"1.", Some((1, 0))),
            (b"1.1234567899", Some((1, 123_456_789))),
            (b"-1.5", Some((0, 0))),
            (b"1.5x", None),
            (b".5", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(pax_time(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
