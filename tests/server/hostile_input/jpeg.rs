//! Builds JPEG files that no encoder would write (ITU-T T.81, annex B), and inserts segments into existing files.

/// Builds the bytes before the first scan: Huffman tables with the single code `0`, and the frame header. In a scan, a zero
/// bit then means "no difference" for one block, or "end of band" for 16384 blocks.
pub fn head(marker: u8, width: u16, height: u16, components: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    segment(&mut bytes, 0xdb, &[&[0][..], &[1; 64]].concat());
    let mut frame = [&[8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[components]].concat();
    (1..=components).for_each(|id| frame.extend_from_slice(&[id, 0x11, 0]));
    segment(&mut bytes, marker, &frame);
    let single_code = |class: u8, meaning: u8| [&[class, 1][..], &[0; 15], &[meaning]].concat();
    segment(&mut bytes, 0xc4, &single_code(0x00, 0));
    // Ends a band of 2^14 blocks; in a sequential frame, ends one block.
    segment(&mut bytes, 0xc4, &single_code(0x10, if marker == PROGRESSIVE { 0xe0 } else { 0 }));
    bytes
}

/// Frame markers.
pub const SEQUENTIAL: u8 = 0xc0;
pub const PROGRESSIVE: u8 = 0xc2;

/// Builds a scan of one component: its header and zeros. `band` holds the first and last coefficient and the precision.
pub fn scan(component: u8, band: [u8; 3], bits: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    segment(&mut bytes, 0xda, &[&[1, component, 0x00][..], &band].concat());
    bytes.extend(std::iter::repeat_n(0, bits.div_ceil(8)));
    bytes
}

/// Builds a complete grey progressive image whose last scan is repeated `scans` times.
pub fn progressive(side: u16, band: [u8; 3], scans: usize) -> Vec<u8> {
    let blocks = usize::from(side.div_ceil(8)).pow(2);
    let mut bytes = head(PROGRESSIVE, side, side, 1);
    bytes.extend(scan(1, [0, 0, 0], blocks));
    bytes.extend(scan(1, [1, 63, 1], blocks.div_ceil(1 << 14) * 15));
    bytes.extend(scan(1, band, blocks.div_ceil(1 << 14) * 15).repeat(scans));
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// Builds a sequential colour image with one scan per component. The first scan is repeated `scans` times, with or
/// without data.
pub fn sequential(side: u16, scans: usize, has_data: bool) -> Vec<u8> {
    let bits = usize::from(side.div_ceil(8)).pow(2) * 2;
    let of = |component: u8, bits: usize| scan(component, [0, 63, 0], bits);
    let again = of(1, if has_data { bits } else { 0 }).repeat(scans);
    let parts = [head(SEQUENTIAL, side, side, 3), of(1, bits), again, of(2, bits), of(3, bits), vec![0xff, 0xd9]];
    parts.concat()
}

/// Builds a frame header with as many components as fit in it, and scans of 255 components each.
pub fn many_components(scans: usize) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    segment(&mut bytes, SEQUENTIAL, &[&[8, 0, 9, 0, 9, 3][..], &[7, 0x11, 0].repeat(21_842)].concat());
    let mut scan = Vec::new();
    segment(&mut scan, 0xda, &[&[255][..], &[9, 0].repeat(255), &[0, 63, 0]].concat());
    bytes.extend(scan.repeat(scans));
    segment(&mut bytes, 0xda, &[1, 7, 0, 0, 63, 0]);
    [&bytes[..], &[0xff, 0xd9]].concat()
}

/// Inserts segments after the first two bytes of `jpeg`.
pub fn with_segments(jpeg: &[u8], marker: u8, contents: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    contents.iter().for_each(|content| segment(&mut bytes, marker, content));
    [&bytes, &jpeg[2..]].concat()
}

/// Builds an EXIF block with an orientation and the offset of its next directory.
pub fn exif(orientation: u16, next: u32) -> Vec<u8> {
    let entry = [&[0x12, 1, 3, 0, 1, 0, 0, 0][..], &orientation.to_le_bytes(), &[0, 0]].concat();
    [b"Exif\0\0II*\0\x08\0\0\0\x01\0", &entry[..], &next.to_le_bytes()].concat()
}

/// Builds part `index` of `count` of a colour profile.
pub fn profile(index: u8, count: u8) -> Vec<u8> {
    [b"ICC_PROFILE\0", &[index, count][..], &[0; 65_000]].concat()
}

fn segment(bytes: &mut Vec<u8>, marker: u8, content: &[u8]) {
    bytes.extend([0xff, marker]);
    bytes.extend((content.len() as u16 + 2).to_be_bytes());
    bytes.extend(content);
}
