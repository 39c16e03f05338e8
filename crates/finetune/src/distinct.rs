//! Which pictures are the same one. Who is asked about a picture must not have been trained on it, so each counts once, by what
//! the network sees of it: files of other names and bytes may show the same pixels. (Two crops of a photo are two pictures.)

use std::collections::HashMap;
use std::fmt;

use kiln_image::PreparedImage;

/// BLAKE3 of the pixels that the network sees.
pub(super) type Digest = [u8; 32];

/// A picture with its right class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    pub(super) digest: Digest,
    /// Its right class.
    pub class: usize,
}

/// Pictures that differ, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Distinct {
    pictures: Vec<Picture>,
    places: HashMap<Digest, usize>,
    repeated: usize,
    contradicted: usize,
}

impl Distinct {
    /// Takes a picture in, unless it is there already. Then the class that it is now said to have counts.
    pub fn is_new(&mut self, image: &PreparedImage, class: usize) -> bool {
        let digest = *blake3::hash(image.pixels()).as_bytes();
        if let Some(place) = self.places.get(&digest) {
            let earlier = &mut self.pictures[*place];
            self.repeated += 1;
            self.contradicted += usize::from(earlier.class != class);
            earlier.class = class;
            return false;
        }
        self.places.insert(digest, self.pictures.len());
        self.pictures.push(Picture { digest, class });
        true
    }

    /// Those that were new, each with the class that it was last said to have.
    pub fn pictures(&self) -> &[Picture] {
        &self.pictures
    }
}

impl fmt::Display for Distinct {
    /// A line about those that were there already; nothing where there were none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repeated, contradicted, .. } = self;
        if *repeated > 0 {
            writeln!(
                f,
                "{repeated} files show the same picture as another, which counts once; in {contradicted} of them it has \
                 another class, the last of which counts"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(value: u8) -> PreparedImage {
        PreparedImage::new(1, 1, vec![value; 3].into())
    }

    #[test]
    fn the_same_pixels_are_one_picture_whose_last_class_counts() {
        let mut distinct = Distinct::default();
        let new: Vec<bool> =
            [(1, 5), (2, 5), (1, 5), (1, 7)].map(|(value, class)| distinct.is_new(&image(value), class)).into();
        assert_eq!(new, [true, true, false, false]);
        assert_eq!(distinct.pictures().iter().map(|picture| picture.class).collect::<Vec<_>>(), [7, 5]);
        let told = distinct.to_string();
        assert!(told.contains("2 files show the same picture") && told.contains("in 1 of them"), "{told}");
        assert_eq!(Distinct::default().to_string(), "");
    }
}
