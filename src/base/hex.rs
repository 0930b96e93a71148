//! Hexadecimal digits.

/// Whether all bytes are lowercase hexadecimal digits.
pub(crate) fn is_hex(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The value of each byte as a lowercase hexadecimal digit; 16 for other bytes.
const HEX_VALUES: [u8; 256] = {
    let mut values = [16; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Decodes lowercase hexadecimal digits; `None` if `text` does not consist of two digits for each
/// of `bytes`. A history has millions of object ids, so the loop has no branch.
pub(crate) fn decode_hex(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    if text.len() != 2 * bytes.len() {
        return None;
    }
    let mut all_values = 0;
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let high = HEX_VALUES[usize::from(digits[0])];
        let low = HEX_VALUES[usize::from(digits[1])];
        all_values |= high | low;
        *byte = high << 4 | low;
    }
    (all_values < 16).then_some(())
}

/// The value of hexadecimal digits without a sign.
pub(crate) fn hex_value(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}
