//! The text of the WGSL programs, assembled from the files beside `Cargo.toml`.
//!
//! The build script includes this file by path, to validate every program. This file therefore has no dependencies.

/// Invocations in a workgroup. Every WebGPU device allows at least 256; the tiles of a product are designed for 64.
pub const LANES: u32 = 64;

/// Expands to the name and the text of a file.
macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../", $name)))
    };
}

/// One WGSL program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// The operation that it computes.
    pub operation: Operation,
    /// Whether tensors hold f16 instead of f32. Sums are f32 either way.
    pub half: bool,
}

/// The operation of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Normalises u8 pixels to the input of the network.
    Normalize,
    /// Dense pointwise convolution.
    Pointwise(Tiles),
    /// Dense convolution with a window. The input channels are a multiple of four.
    Conv(Tiles),
    /// Dense convolution with any number of input channels.
    ConvNarrow(Tiles),
    /// Depthwise convolution.
    Depthwise,
    /// The maximum or the mean under a window.
    Pool,
    /// Ranks logits to the most probable classes.
    TopK,
    /// Resizes decoded images to the input of the network.
    Resize,
}

/// The memory that holds the tiles of a matrix product while a workgroup computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tiles {
    /// Workgroup memory: for GPUs.
    Workgroup,
    /// Only registers: for software adapters, whose workgroup memory is ordinary memory.
    Registers,
}

impl Operation {
    /// Returns every operation, for the build script.
    #[allow(dead_code, reason = "the build script calls it")]
    pub fn all() -> Vec<Self> {
        let products = [Tiles::Workgroup, Tiles::Registers]
            .into_iter()
            .flat_map(|tiles| [Self::Pointwise(tiles), Self::Conv(tiles), Self::ConvNarrow(tiles)]);
        products.chain([Self::Normalize, Self::Depthwise, Self::Pool, Self::TopK, Self::Resize]).collect()
    }

    /// Returns the files of the operation, with their names.
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
    /// Returns the sections of the program in order, each with the name of its file.
    pub fn sections(self) -> Vec<(&'static str, String)> {
        let scalar = if self.half { "enable f16;\nalias scalar = f16;\n" } else { "alias scalar = f32;\n" };
        let prelude = format!("{scalar}const LANES = {LANES}u;\n");
        let files = std::iter::once(file!("main.wgsl")).chain(self.operation.files());
        std::iter::once(("the prelude", prelude)).chain(files.map(|(name, text)| (name, text.to_string()))).collect()
    }

    /// Returns the whole text.
    pub fn text(self) -> String {
        self.sections().into_iter().map(|(_, text)| text).collect()
    }
}
