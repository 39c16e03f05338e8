//! The WGSL programs, put together from their files. The build script includes this file and has each of them validated,
//! so it depends on nothing and launches nothing.

/// Lanes of a workgroup. Every WebGPU device has 256 at least; the tiles of a product are laid out for 64.
pub const LANES: u32 = 64;

/// A file's name and its text.
macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../", $name)))
    };
}

/// One program of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// What it computes.
    pub operation: Operation,
    /// Whether tensors hold f16 instead of f32. Sums are f32 either way.
    pub half: bool,
}

/// What a program computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Bytes to the network's input.
    Normalize,
    /// Dense convolution of single pixels.
    Pointwise(Tiles),
    /// Dense convolution of a window.
    Conv(Tiles),
    /// The same, of any number of input channels.
    ConvNarrow(Tiles),
    /// Convolution of each channel by itself.
    Depthwise,
    /// The largest value or the mean under a window.
    Pool,
    /// Logits to the most probable classes.
    TopK,
    /// Decoded pictures to the network's input.
    Resize,
}

/// Where a product's tiles are held while the lanes of a workgroup work on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tiles {
    /// In memory that the lanes share: for GPUs.
    Workgroup,
    /// In each lane's registers alone: for software adapters, whose shared memory is like any other.
    Registers,
}

impl Operation {
    /// Every operation there is, for the build script.
    #[allow(dead_code, reason = "the build script calls it")]
    pub fn all() -> Vec<Self> {
        let products = [Tiles::Workgroup, Tiles::Registers]
            .into_iter()
            .flat_map(|tiles| [Self::Pointwise(tiles), Self::Conv(tiles), Self::ConvNarrow(tiles)]);
        products.chain([Self::Normalize, Self::Depthwise, Self::Pool, Self::TopK, Self::Resize]).collect()
    }

    /// Its own files, with their names.
    fn files(self) -> Vec<(&'static str, &'static str)> {
        let product = |tiles| match tiles {
            Tiles::Workgroup => file!("product_tiled.wgsl"),
            Tiles::Registers => file!("product.wgsl"),
        };
        let layer = file!("layer.wgsl");
        match self {
            Self::Normalize => vec![file!("normalize.wgsl")],
            Self::Pointwise(tiles) => vec![layer, file!("pointwise.wgsl"), product(tiles)],
            Self::Conv(tiles) => vec![layer, file!("window.wgsl"), file!("conv.wgsl"), product(tiles)],
            Self::ConvNarrow(tiles) => vec![layer, file!("window.wgsl"), file!("conv_narrow.wgsl"), product(tiles)],
            Self::Depthwise => vec![layer, file!("depthwise.wgsl")],
            Self::Pool => vec![file!("pool.wgsl")],
            Self::TopK => vec![file!("softmax_topk.wgsl")],
            Self::Resize => vec![file!("resize.wgsl")],
        }
    }
}

impl Program {
    /// Its parts in order, each with the name of its file.
    pub fn parts(self) -> Vec<(&'static str, String)> {
        let scalar = if self.half { "enable f16;\nalias scalar = f16;\n" } else { "alias scalar = f32;\n" };
        let prelude = format!("{scalar}const LANES = {LANES}u;\n");
        let files = std::iter::once(file!("main.wgsl")).chain(self.operation.files());
        std::iter::once(("the prelude", prelude)).chain(files.map(|(name, text)| (name, text.to_string()))).collect()
    }

    /// The whole of it.
    pub fn text(self) -> String {
        self.parts().into_iter().map(|(_, text)| text).collect()
    }
}
