//! JPEG files that no encoder would write (ITU-T T.81, annex B), and blocks put into those that one wrote.

/// Bytes before a first scan: tables that give each one-bit code `0` a meaning, and the frame. A scan of zero bits then
/// says "no difference" of each block, or "nothing in the next 16384 blocks".
pub fn head(marker: u8, width: u16, height: u16, components: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    segment(&mut bytes, 0xdb, &[&[0][..], &[1; 64]].concat());
    let mut frame = [&[8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[components]].concat();
    (1..=components).for_each(|id| frame.extend_from_slice(&[id, 0x11, 0]));
    segment(&mut bytes, marker, &frame);
    let of_one_code = |class: u8, meaning: u8| [&[class, 1][..], &[0; 15], &[meaning]].concat();
    segment(&mut bytes, 0xc4, &of_one_code(0x00, 0));
    // The end of a band of 2^14 blocks; in a sequential frame, the end of one block.
    segment(&mut bytes, 0xc4, &of_one_code(0x10, if marker == PROGRESSIVE { 0xe0 } else { 0 }));
    bytes
}

/// Frame markers.
pub const SEQUENTIAL: u8 = 0xc0;
pub const PROGRESSIVE: u8 = 0xc2;

/// A scan of one component: its header, and zeros. `band` is the first and the last coefficient and the precision.
pub fn scan(component: u8, band: [u8; 3], bits: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    segment(&mut bytes, 0xda, &[&[1, component, 0x00][..], &band].concat());
    bytes.extend(std::iter::repeat_n(0, bits.div_ceil(8)));
    bytes
}

/// A whole grey progressive picture whose last scan comes `scans` times.
pub fn progressive(side: u16, band: [u8; 3], scans: usize) -> Vec<u8> {
    let blocks = usize::from(side.div_ceil(8)).pow(2);
    let mut bytes = head(PROGRESSIVE, side, side, 1);
    bytes.extend(scan(1, [0, 0, 0], blocks));
    bytes.extend(scan(1, [1, 63, 1], blocks.div_ceil(1 << 14) * 15));
    bytes.extend(scan(1, band, blocks.div_ceil(1 << 14) * 15).repeat(scans));
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// A sequential colour picture, one scan a component, whose first scan comes again `scans` times, with or without data.
pub fn sequential(side: u16, scans: usize, has_data: bool) -> Vec<u8> {
    let bits = usize::from(side.div_ceil(8)).pow(2) * 2;
    let of = |component: u8, bits: usize| scan(component, [0, 63, 0], bits);
    let again = of(1, if has_data { bits } else { 0 }).repeat(scans);
    let parts = [head(SEQUENTIAL, side, side, 3), of(1, bits), again, of(2, bits), of(3, bits), vec![0xff, 0xd9]];
    parts.concat()
}

/// `jpeg` with more segments behind its first two bytes.
pub fn with_segments(jpeg: &[u8], marker: u8, contents: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    contents.iter().for_each(|content| segment(&mut bytes, marker, content));
    [&bytes, &jpeg[2..]].concat()
}

/// An EXIF block that says which way is up, and where its next directory is said to lie.
pub fn exif(orientation: u16, next: u32) -> Vec<u8> {
    let entry = [&[0x12, 1, 3, 0, 1, 0, 0, 0][..], &orientation.to_le_bytes(), &[0, 0]].concat();
    [b"Exif\0\0II*\0\x08\0\0\0\x01\0", &entry[..], &next.to_le_bytes()].concat()
}

/// Part `index` of `count` of a colour profile.
pub fn profile(index: u8, count: u8) -> Vec<u8> {
    [b"ICC_PROFILE\0", &[index, count][..], &[0; 65_000]].concat()
}

fn segment(bytes: &mut Vec<u8>, marker: u8, content: &[u8]) {
    bytes.extend([0xff, marker]);
    bytes.extend((content.len() as u16 + 2).to_be_bytes());
    bytes.extend(content);
}
