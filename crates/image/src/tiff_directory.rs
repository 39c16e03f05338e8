//! How many values a TIFF says that a tag has (TIFF 6.0, section 2; BigTIFF has wider fields). The decoder makes room for
//! them, up to 256 MiB, before it sees whether they are there.

/// The most values that a tag of the first directory has; nothing where there is no whole directory, which will not decode.
pub(super) fn most_values(bytes: &[u8]) -> Option<u64> {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, size: usize| number(bytes, at, size, little);
    let big = number(2, 2)? == 43;
    // Where the offset of the directory is, and how long are it, the number of entries, and an entry.
    let (offset, width, count, entry) = if big { (8, 8, 8, 20) } else { (4, 4, 2, 12) };
    let start = usize::try_from(number(offset, width)?).ok()?;
    let entries = usize::try_from(number(start, count)?).ok()?;
    let first = start.checked_add(count)?;
    let mut most = 0;
    for index in 0..entries {
        // Behind a tag and a type of two bytes each.
        let values = index.checked_mul(entry)?.checked_add(first)?.checked_add(4)?;
        most = most.max(number(values, width)?);
    }
    Some(most)
}

fn number(bytes: &[u8], at: usize, size: usize, little: bool) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?.iter();
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(if little { field.rev().fold(0, join) } else { field.fold(0, join) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    #[test]
    fn the_largest_tag_is_found_in_either_order_and_width() {
        let little =
            b"II*\0\x08\0\0\0\x02\0\x00\x01\x03\0\x05\0\0\0\0\0\0\0\x11\x01\x04\0\xff\xff\xff\x0f\0\0\0\0\0\0\0\0";
        assert_eq!(most_values(little), Some(0x0fff_ffff));
        let big =
            b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x01\x01\0\0\x03\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0";
        assert_eq!(most_values(big), Some(0x1_0000_0002));
        for (whole, end) in [(&little[..], 30), (&big[..], 36)] {
            for length in 0..end {
                assert_eq!(most_values(&whole[..length]), None, "{length}");
            }
        }
        assert_eq!(most_values(b"II+\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    /// The decoder would first make room for eight million.
    #[test]
    fn a_tag_with_more_values_than_the_file_has_bytes_is_refused() {
        let tiff = b"II*\0\x08\0\0\0\x01\0\x17\x01\x01\0\0\0\x80\0\x1a\0\0\0\0\0\0\0";
        let limits = Limits { formats: "tiff".parse().unwrap(), ..Limits::default() };
        let reason = decode(tiff, &limits).unwrap_err().to_string();
        assert!(reason.contains("a tag has more values"), "{reason}");
    }
}
