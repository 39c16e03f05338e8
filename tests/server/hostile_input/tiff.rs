//! Builds TIFF files that no encoder would write (TIFF 6.0, section 2).

/// Values of the tag for compression.
pub const LZW: u32 = 5;
pub const PACK_BITS: u32 = 32_773;

/// Builds a grey image of one column with a strip for each row. All strips are the same bytes of the file, and end with the file.
pub fn equal_strips(height: u32, compression: u32, strip: &[u8]) -> Vec<u8> {
    const HEAD: u32 = 8;
    // The number of entries, eight entries, and the offset of the next directory.
    const DIRECTORY: u32 = 2 + 8 * 12 + 4;
    let (offsets, data) = (HEAD + DIRECTORY, HEAD + DIRECTORY + 4 * height);
    // A single value stands in its entry.
    let places = if height == 1 { data } else { offsets };
    let mut file = [&b"II*\0"[..], &HEAD.to_le_bytes(), &[8, 0]].concat();
    for (tag, count, value) in [
        (256_u16, 1, 1),
        (257, 1, height),
        (258, 1, 8),
        (259, 1, compression),
        (262, 1, 1),
        (273, height, places),
        (277, 1, 1),
        (278, 1, 1),
    ] {
        file.extend([tag.to_le_bytes(), [4, 0]].concat());
        file.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    file.extend(data.to_le_bytes().repeat(height as usize));
    [&file[..], strip].concat()
}
