//! The part of DER that certificates and timestamps need (X.690).

use time::OffsetDateTime;

pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(u8::try_from(length).unwrap()),
        0x80..0x100 => out.extend([0x81, u8::try_from(length).unwrap()]),
        _ => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// Of one element, or of several in their order.
pub fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, text.as_bytes())
}

pub fn boolean() -> Vec<u8> {
    tlv(0x01, &[0xff])
}

/// Explicitly tagged.
pub fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 + number, content)
}

pub fn integer(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(7);
    let sign = if bytes[zeros] >= 0x80 { &[0][..] } else { &[] };
    tlv(0x02, &[sign, &bytes[zeros..]].concat())
}

pub fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u64> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = Vec::new();
    for arc in [&[arcs[0] * 40 + arcs[1]], &arcs[2..]].concat() {
        let mut base: Vec<u8> = vec![(arc & 0x7f).try_into().unwrap()];
        let mut rest = arc >> 7;
        while rest > 0 {
            base.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        content.extend(base.iter().rev());
    }
    tlv(0x06, &content)
}

/// Seconds of the epoch as the time of a certificate.
pub fn utc_time(seconds: i64) -> Vec<u8> {
    tlv(0x17, &digits(seconds).as_bytes()[2..])
}

/// Seconds of the epoch as the time of a timestamp.
pub fn generalized_time(seconds: i64) -> Vec<u8> {
    tlv(0x18, digits(seconds).as_bytes())
}

fn digits(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let month = u8::from(time.month());
    let date = format!("{:04}{month:02}{:02}", time.year(), time.day());
    format!(
        "{date}{:02}{:02}{:02}Z",
        time.hour(),
        time.minute(),
        time.second()
    )
}

pub fn name(common: &str) -> Vec<u8> {
    sequence(&[set(&[sequence(&[oid("2.5.4.3"), utf8(common)])])])
}
