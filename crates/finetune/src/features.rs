//! What the frozen network makes of pictures: the numbers that its last layer takes.

/// Features of some pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// How many each picture has.
    pub width: usize,
    /// `[pictures, width]`, one row a picture.
    pub values: Vec<f32>,
}

impl Features {
    /// Those of one picture.
    pub fn row(&self, picture: usize) -> &[f32] {
        &self.values[picture * self.width..][..self.width]
    }
}
